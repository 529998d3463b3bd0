package safetensors

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"

	"excpfs/tensor"
)

// Format is the name of the format in a layout.
const Format = "safetensors"

// MaxHeader is the longest JSON header the format allows, in bytes.
const MaxHeader = 100_000_000

const prefix = 8 // bytes of the header's length

// FormatError says why a file is not a safetensors file.
type FormatError struct{ Reason string }

func (e *FormatError) Error() string { return "not a safetensors file: " + e.Reason }

func malformed(format string, a ...any) error { return &FormatError{fmt.Sprintf(format, a...)} }

// Sniff reports whether a file of size bytes that begins with head (9 bytes are
// enough) may be a safetensors file.
func Sniff(head []byte, size int64) bool {
	_, err := headerLength(head, size)
	return err == nil && len(head) > prefix && head[prefix] == '{'
}

// headerLength reads and checks the length of the JSON.
func headerLength(head []byte, size int64) (int64, error) {
	if size < prefix || len(head) < prefix {
		return 0, malformed("%d bytes are too few", size)
	}
	switch n := binary.LittleEndian.Uint64(head); {
	case n > MaxHeader:
		return 0, malformed("header length %d is beyond %d", n, MaxHeader)
	case int64(n) > size-prefix:
		return 0, malformed("header of %d bytes in a file of %d", n, size)
	case n < 2:
		return 0, malformed("header of %d bytes", n)
	default:
		return int64(n), nil
	}
}

// Parse reads the layout of a file of size bytes. The error is a *FormatError
// where it means that this is no safetensors file; any other is the reader's.
func Parse(r io.ReaderAt, size int64) (*tensor.Layout, error) {
	head := make([]byte, min(prefix, max(size, 0)))
	if err := read(r, head, 0); err != nil {
		return nil, err
	}
	n, err := headerLength(head, size)
	if err != nil {
		return nil, err
	}
	text := make([]byte, n)
	if err := read(r, text, prefix); err != nil {
		return nil, err
	}
	tensors, err := parseJSON(text)
	if err != nil {
		return nil, err
	}
	l := &tensor.Layout{Format: Format, Size: size, Tensors: tensors}
	return l, place(l, prefix+n)
}

func read(r io.ReaderAt, p []byte, off int64) error {
	n, err := r.ReadAt(p, off)
	if n == len(p) {
		return nil
	}
	if err == nil || err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return fmt.Errorf("safetensors: header: %w", err)
}

// place sorts the tensors, whose offsets count from data, and proves that they
// fill the rest of the file.
func place(l *tensor.Layout, data int64) error {
	slices.SortFunc(l.Tensors, func(a, b tensor.Info) int {
		switch {
		case a.Offset != b.Offset:
			return cmp.Compare(a.Offset, b.Offset)
		case a.Length != b.Length: // an empty tensor comes before what begins at its place
			return cmp.Compare(a.Length, b.Length)
		}
		return strings.Compare(a.Name, b.Name)
	})
	at := data
	for i := range l.Tensors {
		t := &l.Tensors[i]
		if t.Length > l.Size-at {
			return malformed("tensor %q ends at byte %d of the data, which has %d", t.Name, t.Offset+t.Length, l.Size-data)
		}
		if t.Offset != at-data {
			return malformed("tensor %q begins at byte %d of the data, not %d", t.Name, t.Offset, at-data)
		}
		t.Offset = at
		at += t.Length
	}
	if at != l.Size {
		return malformed("%d bytes after the last tensor", l.Size-at)
	}
	return nil
}

// describe checks what the header says of one tensor.
func describe(t *tensor.Info, dtype string, begin, end int64) error {
	d, ok := tensor.ParseDType(dtype)
	if !ok {
		return malformed("tensor %q: unknown dtype %q", t.Name, dtype)
	}
	n, ok := tensor.Product(t.Shape)
	if !ok || n > math.MaxInt64/64 {
		return malformed("tensor %q: shape %v is too large", t.Name, t.Shape)
	}
	bits := n * int64(d.Bits())
	switch {
	case bits%8 != 0:
		return malformed("tensor %q: %s %v does not fill whole bytes", t.Name, d, t.Shape)
	case begin > end:
		return malformed("tensor %q: data_offsets %d to %d", t.Name, begin, end)
	case bits/8 != end-begin:
		return malformed("tensor %q: %d bytes, but %s %v needs %d", t.Name, end-begin, d, t.Shape, bits/8)
	}
	t.DType, t.Offset, t.Length = d, begin, end-begin
	return nil
}

// onlySpaces is the padding that may follow the JSON.
func onlySpaces(p []byte) bool { return len(bytes.TrimLeft(p, " ")) == 0 }
