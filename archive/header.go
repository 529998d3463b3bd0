package archive

import (
	"fmt"
)

func appendHeader(b []byte, version uint16) []byte {
	at := len(b)
	b = append(b, headMagic...)
	b = le.AppendUint16(b, version)
	b = le.AppendUint16(b, 0)
	return le.AppendUint32(b, checksum(b[at:]))
}

// parseHeader checks the first headerSize bytes of an archive and returns its version.
func parseHeader(b []byte, name string) (version uint16, err error) {
	if len(b) < len(headMagic) || string(b[:len(headMagic)]) != headMagic {
		return 0, fmt.Errorf("%s: %w", name, ErrNotArchive)
	}
	if len(b) < headerSize || checksum(b[:12]) != le.Uint32(b[12:]) {
		return 0, &DamageError{File: name, What: "header checksum does not match"}
	}
	if version = le.Uint16(b[8:]); !known(version) {
		return 0, &VersionError{File: name, Version: version}
	}
	if f := le.Uint16(b[10:]); f != 0 {
		return 0, &UnsupportedError{File: name, What: fmt.Sprintf("header flags %#04x", f)}
	}
	return version, nil
}

// known reports whether this package reads a version.
func known(version uint16) bool { return version > 0 && version <= Version }
