package archive

import (
	"fmt"
)

func appendHeader(b []byte) []byte {
	at := len(b)
	b = append(b, headMagic...)
	b = le.AppendUint16(b, Version)
	b = le.AppendUint16(b, 0)
	return le.AppendUint32(b, checksum(b[at:]))
}

// parseHeader checks the first headerSize bytes of an archive.
func parseHeader(b []byte, name string) error {
	if len(b) < len(headMagic) || string(b[:len(headMagic)]) != headMagic {
		return fmt.Errorf("%s: %w", name, ErrNotArchive)
	}
	if len(b) < headerSize || checksum(b[:12]) != le.Uint32(b[12:]) {
		return &DamageError{File: name, What: "header checksum does not match"}
	}
	if v := le.Uint16(b[8:]); v != Version {
		return &VersionError{File: name, Version: v}
	}
	if f := le.Uint16(b[10:]); f != 0 {
		return &UnsupportedError{File: name, What: fmt.Sprintf("header flags %#04x", f)}
	}
	return nil
}
