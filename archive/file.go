package archive

import (
	"errors"
	"fmt"
	"io"
)

// file is an archive as bytes with a name for errors.
type file struct {
	src  io.ReaderAt
	size int64
	name string
}

func (f file) damage(off int64, what string) error {
	return &DamageError{File: f.name, Offset: off, What: what}
}

// read fills p. A file that ends too early is damaged; any other fault is the host's.
func (f file) read(p []byte, off int64) error {
	n, err := f.src.ReadAt(p, off)
	switch {
	case n == len(p):
		return nil
	case err == nil || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
		return f.damage(off+int64(n), "file ends too early")
	}
	return fmt.Errorf("%s: %w", f.name, err)
}

// header checks the first bytes and returns the version.
func (f file) header() (uint16, error) {
	b := make([]byte, min(headerSize, max(f.size, 0)))
	if err := f.read(b, 0); err != nil {
		return 0, err
	}
	return parseHeader(b, f.name)
}

// tail reads summary and trailer.
func (f file) tail() (sum Summary, t Trailer, s sections, err error) {
	b := make([]byte, min(tailSize, max(f.size, 0)))
	at := f.size - int64(len(b))
	if err = f.read(b, at); err != nil {
		return
	}
	if t, s, err = f.trailer(b); err != nil {
		return
	}
	begin := f.size - trailerSize - int64(s.summary)
	if begin >= at {
		b = b[begin-at : len(b)-trailerSize]
	} else {
		b = make([]byte, s.summary)
		if err = f.read(b, begin); err != nil {
			return
		}
	}
	sum, err = f.summary(b, s, begin)
	return
}

// trailer checks the fixed end of the last bytes of the file.
func (f file) trailer(b []byte) (Trailer, sections, error) {
	if len(b) < headerSize+trailerSize {
		if _, err := f.header(); err != nil {
			return Trailer{}, sections{}, err
		}
		return Trailer{}, sections{}, f.damage(f.size, "file ends too early")
	}
	at := f.size - trailerSize
	b = b[len(b)-trailerSize:]
	// A trailer that is not ours is another version's, or another format's,
	// only if the header agrees.
	if v, ok := trailerVersion(b); !ok || !known(v) {
		if _, err := f.header(); err != nil {
			return Trailer{}, sections{}, err
		}
		return Trailer{}, sections{}, f.damage(at, "no trailer: the file was cut or overwritten")
	}
	t, s, err := parseTrailer(b)
	if err == nil {
		err = s.check(f.size)
	}
	return t, s, f.fault(at, "", err)
}

// fault makes damage of err, or says which file uses what we do not know.
func (f file) fault(off int64, section string, err error) error {
	if err == nil {
		return nil
	}
	if u, ok := errors.AsType[*UnsupportedError](err); ok {
		return &UnsupportedError{File: f.name, What: u.What}
	}
	return f.damage(off, section+err.Error())
}

// summary checks and parses the stored summary b.
func (f file) summary(b []byte, s sections, at int64) (Summary, error) {
	if checksum(b) != s.summaryCRC {
		return Summary{}, f.damage(at, "summary checksum does not match")
	}
	sum, err := parseSummary(b)
	return sum, f.fault(at, "summary: ", err)
}
