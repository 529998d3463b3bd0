package zipnn

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/huff0"
)

// Methods of a chunk.
const (
	asIs    = 0
	huffman = 1
)

// chunk is one group of one chunk.
type chunk struct {
	method byte
	at     int64 // in the file
	length int64
}

// stream is a stream whose tables are read and fit its length.
type stream struct {
	*header
	r      io.ReaderAt
	at     int64
	chunks []chunk // of group g chunk c: g*count+c
	count  int64
}

const (
	tableEntry = 9        // bytes: a method and a length
	maxTables  = 64 << 20 // bytes; that is 900 GB of data in the chunks that ZipNN makes
)

func openStream(r io.ReaderAt, at, left int64) (*stream, error) {
	h, err := readHeader(r, at, left)
	if err != nil {
		return nil, err
	}
	s := &stream{header: h, r: r, at: at, count: (h.original + h.chunk - 1) / h.chunk}
	groups := int64(h.groups)
	if s.count > min(h.length-h.size, maxTables)/(tableEntry*groups) {
		return nil, s.bad(h.size, "tables of %d chunks in %d bytes", s.count, h.length-h.size)
	}
	n := groups * s.count
	tables := make([]byte, tableEntry*n)
	if err := readAt(r, tables, at+h.size); err != nil {
		return nil, err
	}
	s.chunks = make([]chunk, n)
	return s, s.place(tables[:n], tables[n:])
}

func (s *stream) bad(off int64, format string, a ...any) error {
	return &FormatError{Offset: s.at + off, Reason: fmt.Sprintf(format, a...)}
}

// place finds the chunks and proves that they fill the stream.
func (s *stream) place(methods, ends []byte) error {
	n := int64(len(methods))
	at := s.size + tableEntry*n // of the group
	for g := range int64(s.groups) {
		before := int64(0)
		for c := range s.count {
			i := g*s.count + c
			entry := s.size + n + 8*i
			end := binary.LittleEndian.Uint64(ends[8*i:])
			if end < uint64(before) || end > uint64(s.length-at) {
				return s.bad(entry, "chunk %d of group %d ends at byte %d", c, g, end)
			}
			k := chunk{methods[i], s.at + at + before, int64(end) - before}
			want := s.groupSize(g, c)
			switch {
			case k.method > huffman:
				return s.bad(s.size+i, "method %d of chunk %d", k.method, c)
			case k.method == asIs && k.length != want, k.method == huffman && (k.length < 1 || k.length > want):
				return s.bad(entry, "chunk %d of group %d: %d bytes for %d", c, g, k.length, want)
			}
			s.chunks[i] = k
			before = int64(end)
		}
		at += before
	}
	if at != s.length {
		return s.bad(24, "%d bytes after the last chunk", s.length-at)
	}
	return nil
}

// chunkSize is how many bytes chunk c has when it is decoded.
func (s *stream) chunkSize(c int64) int64 { return min(s.chunk, s.original-c*s.chunk) }

// groupSize is how many of them are in group g.
func (s *stream) groupSize(g, c int64) int64 {
	n, groups := s.chunkSize(c), int64(s.groups)
	return (n + groups - 1 - g) / groups
}

// decoder is the scratch of decoding.
type decoder struct {
	huff   *huff0.Scratch
	coded  []byte
	groups [4][]byte
	out    []byte
}

// writeTo decodes a stream.
func (s *stream) writeTo(w io.Writer, d *decoder) error {
	for c := range s.count {
		if err := s.decode(c, d); err != nil {
			return err
		}
		if _, err := w.Write(d.out); err != nil {
			return err
		}
	}
	return nil
}

// decode leaves chunk c in d.out.
func (s *stream) decode(c int64, d *decoder) error {
	for g := range int64(s.groups) {
		k := s.chunks[g*s.count+c]
		d.groups[g] = sized(d.groups[g], s.groupSize(g, c))
		if err := d.group(s.r, k, d.groups[g]); err != nil {
			if _, ok := errors.AsType[*huffError](err); ok {
				err = &FormatError{Offset: k.at, Reason: fmt.Sprintf("chunk %d: %v", c, err)}
			}
			return err
		}
	}
	d.out = sized(d.out, s.chunkSize(c))
	interleave(d.out, d.groups[:s.groups])
	if s.rotated && s.groups > 1 {
		unrotate(d.out, s.groups)
	}
	return nil
}

// huffError is damage of a Huffman block.
type huffError struct{ reason string }

func (e *huffError) Error() string { return e.reason }

// group decodes one group of a chunk.
func (d *decoder) group(r io.ReaderAt, k chunk, dst []byte) error {
	if k.method == asIs {
		return readAt(r, dst, k.at)
	}
	d.coded = sized(d.coded, k.length)
	if err := readAt(r, d.coded, k.at); err != nil {
		return err
	}
	switch {
	case k.length == 1: // all the same
		for i := range dst {
			dst[i] = d.coded[0]
		}
		return nil
	case k.length == int64(len(dst)): // was not compressed after all
		copy(dst, d.coded)
		return nil
	}
	huff, coded, err := huff0.ReadTable(d.coded, d.huff)
	if err != nil {
		return &huffError{err.Error()}
	}
	d.huff = huff
	out, err := huff.Decoder().Decompress4X(dst[:0:len(dst)], coded)
	if err != nil {
		return &huffError{err.Error()}
	}
	if len(out) != len(dst) {
		return &huffError{fmt.Sprintf("%d bytes where %d belong", len(out), len(dst))}
	}
	return nil
}

// interleave takes a byte of each group in turn.
func interleave(dst []byte, groups [][]byte) {
	n := len(groups)
	for g, src := range groups {
		for i, b := range src {
			dst[n*i+g] = b
		}
	}
}

// unrotate puts signs back in front of exponents. It works on words of four bytes; what
// is left at the end of a chunk was never changed.
func unrotate(b []byte, width int) {
	sign, exponent, rest, by := uint32(0x80000000), uint32(0x7F800000), uint32(0x007FFFFF), 8
	if width == 2 {
		sign, exponent, rest = 0x80008000, 0x7F807F80, 0x007F007F
	}
	for ; len(b) >= 4; b = b[4:] {
		v := binary.LittleEndian.Uint32(b)
		binary.LittleEndian.PutUint32(b, v<<by&sign|v>>1&exponent|v&rest)
	}
}

func sized(b []byte, n int64) []byte {
	if int64(cap(b)) < n {
		return make([]byte, n)
	}
	return b[:n]
}
