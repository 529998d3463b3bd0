package torchfile

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
)

// maxString is the longest string that is kept; the names that matter are short.
const maxString = 1 << 16

// source reads the bytes from pos to end of a file in order. Running into end
// is a fault of the format, anything else that stops it one of the reader.
type source struct {
	r        *bufio.Reader
	pos, end int64
}

func newSource(r io.ReaderAt, pos, end int64) *source {
	size := int(max(16, min(end-pos, 1<<14)))
	return &source{bufio.NewReaderSize(io.NewSectionReader(r, pos, end-pos), size), pos, end}
}

func (s *source) left() int64 { return s.end - s.pos }

func (s *source) short(n uint64) error {
	if n > uint64(s.left()) {
		return malformed("%d bytes at byte %d, where %d are left", n, s.pos, s.left())
	}
	return nil
}

func (s *source) byte() (byte, error) {
	if s.pos == s.end {
		return 0, s.short(1)
	}
	b, err := s.r.ReadByte()
	s.pos++
	return b, reading(err)
}

// bytes reads the next n, at most maxString.
func (s *source) bytes(n uint64) ([]byte, error) {
	if n > maxString {
		return nil, malformed("string of %d bytes at byte %d", n, s.pos)
	}
	if err := s.short(n); err != nil {
		return nil, err
	}
	b := make([]byte, n)
	_, err := io.ReadFull(s.r, b)
	s.pos += int64(n)
	return b, reading(err)
}

func (s *source) skip(n uint64) error {
	if err := s.short(n); err != nil {
		return err
	}
	_, err := io.CopyN(io.Discard, s.r, int64(n))
	s.pos += int64(n)
	return reading(err)
}

// uint reads a little-endian number of n bytes.
func (s *source) uint(n int) (v uint64, err error) {
	for i := 0; i < n && err == nil; i++ {
		var b byte
		b, err = s.byte()
		v |= uint64(b) << (8 * i)
	}
	return v, err
}

// line reads up to a newline, which it drops.
func (s *source) line() (string, error) {
	var line []byte
	for len(line) <= maxString {
		b, err := s.byte()
		if err != nil {
			return "", err
		}
		if b == '\n' {
			return string(line), nil
		}
		line = append(line, b)
	}
	return "", malformed("line of more than %d bytes at byte %d", maxString, s.pos)
}

func readAt(r io.ReaderAt, p []byte, off int64) error {
	n, err := r.ReadAt(p, off)
	if n == len(p) {
		return nil
	}
	if err == nil {
		err = io.ErrUnexpectedEOF
	}
	return reading(err)
}

func reading(err error) error {
	switch err {
	case nil:
		return nil
	case io.EOF:
		err = io.ErrUnexpectedEOF
	}
	return fmt.Errorf("torchfile: %w", err)
}

// u16, u32 and u64 read a field of a zip's header.
func u16(b []byte, at int) int    { return int(binary.LittleEndian.Uint16(b[at:])) }
func u32(b []byte, at int) int64  { return int64(binary.LittleEndian.Uint32(b[at:])) }
func u64(b []byte, at int) uint64 { return binary.LittleEndian.Uint64(b[at:]) }
