package zipnn

import (
	"encoding/binary"
	"fmt"
	"io"

	"excpfs/tensor"
)

// FormatError says what cannot be read, and where.
type FormatError struct {
	Tensor string // "" where the file is one stream or several
	Offset int64  // in the file
	Reason string
}

func (e *FormatError) Error() string {
	if e.Tensor == "" {
		return fmt.Sprintf("byte %d: %s", e.Offset, e.Reason)
	}
	return fmt.Sprintf("tensor %q at byte %d: %s", e.Tensor, e.Offset, e.Reason)
}

const (
	magic      = "ZN"
	headerSize = 32
	maxChunk   = 30 // log2 of bytes
	maxDims    = 64
)

// Kinds of input.
const (
	inputBytes = 1
	inputTorch = 2
	inputNumpy = 3
)

// element is what a stream's element type says.
type element struct {
	dtype  tensor.DType
	groups int
	order  byte // of the bytes, as the header has it
}

var elements = map[byte]element{
	1:  {tensor.F32, 4, 220},
	2:  {tensor.F32, 4, 220},
	4:  {tensor.F16, 2, 10},
	5:  {tensor.F16, 2, 10},
	6:  {tensor.BF16, 2, 10},
	29: {tensor.F8E4M3, 1, 10},
	30: {tensor.F8E5M2, 1, 10},
}

// header of a stream.
type header struct {
	element
	input    byte
	rotated  bool // the sign is below the exponent
	chunk    int64
	original int64
	length   int64 // of the stream
	shape    []int64
	size     int64 // of this header
}

// readHeader reads a stream's header at an offset; left is how many bytes there are from there.
func readHeader(r io.ReaderAt, at, left int64) (*header, error) {
	bad := func(off int64, format string, a ...any) error {
		return &FormatError{Offset: at + off, Reason: fmt.Sprintf(format, a...)}
	}
	b := make([]byte, min(left, headerSize+1+9*maxDims))
	if err := readAt(r, b, at); err != nil {
		return nil, err
	}
	if len(b) < headerSize || string(b[:2]) != magic {
		return nil, bad(0, "no ZipNN stream")
	}
	h := &header{input: b[8], rotated: b[6] == 1, size: headerSize}
	original, length := binary.LittleEndian.Uint64(b[16:]), binary.LittleEndian.Uint64(b[24:])
	e, known := elements[b[15]]
	switch {
	case b[2] != 0 || b[3] < 4 || b[3] > 5:
		return nil, bad(2, "ZipNN %d.%d.%d", b[2], b[3], b[4])
	case b[9] != 0:
		return nil, bad(9, "the difference to another file, which ZipNN's own program needs too")
	case b[10]|b[12] != 0:
		return nil, bad(10, "lossy compression %d", b[10])
	case !known:
		return nil, bad(15, "element type %d", b[15])
	case b[5] != e.order:
		return nil, bad(5, "byte order %d for %s", b[5], e.dtype)
	case b[6] > 1:
		return nil, bad(6, "bit order %d", b[6])
	case h.input < inputBytes || h.input > inputNumpy:
		return nil, bad(8, "kind of input %d", h.input)
	case b[14] < 3 || b[14] > maxChunk:
		return nil, bad(14, "chunks of 2^%d bytes", b[14])
	case length < headerSize || length > uint64(left):
		return nil, bad(24, "%d bytes where there are %d", length, left)
	case original/maxRatio > length:
		return nil, bad(16, "%d bytes out of %d", original, length)
	}
	h.element, h.original, h.length = e, int64(original), int64(length)
	h.chunk = int64(1) << b[14]
	if e.groups == 1 {
		h.chunk = min(h.chunk, 1<<17)
	}
	if h.input == inputBytes {
		return h, nil
	}
	return h, h.readShape(b, bad)
}

// maxRatio bounds what a stream can hold: a chunk takes 9 bytes at least, in each group.
const maxRatio = 1 << maxChunk / 9

// readShape reads the shape and checks that it gives the length.
func (h *header) readShape(b []byte, bad func(int64, string, ...any) error) error {
	p := b[headerSize:min(int64(len(b)), h.length)]
	short := func() error { return bad(h.size, "the shape is cut") }
	if len(p) == 0 {
		return short()
	}
	dims := int(p[0])
	p, h.size = p[1:], h.size+1
	if dims > maxDims {
		return bad(headerSize, "%d dimensions", dims)
	}
	for range dims {
		if len(p) == 0 || len(p) < 1+int(p[0]) {
			return short()
		}
		width := int(p[0])
		var v [8]byte
		if width != 1 && width != 2 && width != 4 && width != 8 {
			return bad(h.size, "dimension of %d bytes", width)
		}
		copy(v[:], p[1:1+width])
		h.shape = append(h.shape, int64(binary.LittleEndian.Uint64(v[:])))
		p, h.size = p[1+width:], h.size+1+int64(width)
	}
	if n, ok := tensor.Product(h.shape); !ok || n != h.original/int64(h.dtype.Width()) || h.original%int64(h.dtype.Width()) != 0 {
		return bad(headerSize, "%s %v is not %d bytes", h.dtype, h.shape, h.original)
	}
	return nil
}

func readAt(r io.ReaderAt, p []byte, off int64) error {
	n, err := r.ReadAt(p, off)
	if n == len(p) {
		return nil
	}
	if err == nil || err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return fmt.Errorf("zipnn: %w", err)
}
