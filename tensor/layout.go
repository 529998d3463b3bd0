package tensor

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"sort"
)

// Info describes one tensor of a file: what it is and where its bytes are.
type Info struct {
	Name   string
	DType  DType
	Shape  []int64 // empty for a scalar
	Offset int64   // of the first payload byte in the file
	Length int64   // of the payload in bytes
}

// Elems is the number of elements, saturating at math.MaxInt64.
func (t Info) Elems() int64 {
	n, ok := Product(t.Shape)
	if !ok {
		return math.MaxInt64
	}
	return n
}

// Product multiplies the dimensions of a shape. It fails on a negative
// dimension and on overflow of int64.
func Product(shape []int64) (int64, bool) {
	n := int64(1)
	for _, d := range shape {
		if d < 0 || (d != 0 && n > math.MaxInt64/d) {
			return 0, false
		}
		n *= d
	}
	return n, true
}

// Sum is a CRC-32 (IEEE) of the whole payload of a tensor, which stands as a
// little-endian u32 in the verbatim bytes at each of the offsets. Whether what
// stands there is right is not the layout's business.
type Sum struct {
	Tensor  int     // its index in the layout
	Offsets []int64 // ascending
}

const sumLength = 4 // bytes of a checksum

// Layout is a tensor file as an ordered list of extents: the tensors, in the
// order of their offsets and without overlap; every byte between, before and
// after them is verbatim.
type Layout struct {
	Format  string // "safetensors"; "torch", "torch-legacy", "distcp"
	Size    int64  // of the file in bytes
	Tensors []Info
	Sums    []Sum // in the order of the tensors, at most one for each
	Opaque  []int // tensors, ascending, of which nothing is known but their type: they keep every bit
}

// Check proves the layout: tensors inside the file, in order, disjoint, with
// lengths that their types and shapes give; checksums in verbatim bytes, disjoint.
func (l *Layout) Check() error {
	at := int64(0)
	for i, t := range l.Tensors {
		n, ok := Product(t.Shape)
		switch {
		case !t.DType.Valid():
			return fmt.Errorf("tensor %q: unknown dtype %d", t.Name, t.DType)
		case !ok || n > math.MaxInt64/64:
			return fmt.Errorf("tensor %q: shape %v is too large", t.Name, t.Shape)
		case (n*int64(t.DType.Bits())+7)/8 != t.Length:
			return fmt.Errorf("tensor %q: %d bytes, but %s %v needs %d",
				t.Name, t.Length, t.DType, t.Shape, (n*int64(t.DType.Bits())+7)/8)
		case t.Offset < at || t.Length > l.Size-t.Offset:
			return fmt.Errorf("tensor %d (%q): bytes %d+%d overlap or leave the file of %d bytes",
				i, t.Name, t.Offset, t.Length, l.Size)
		}
		at = t.Offset + t.Length
	}
	return l.checkSums()
}

// checkSums relies on the order of the tensors.
func (l *Layout) checkSums() error {
	var all []int64
	for i, s := range l.Sums {
		if s.Tensor < 0 || s.Tensor >= len(l.Tensors) || i > 0 && s.Tensor <= l.Sums[i-1].Tensor {
			return fmt.Errorf("checksum %d is of tensor %d, of %d", i, s.Tensor, len(l.Tensors))
		}
		for j, off := range s.Offsets {
			if j > 0 && off <= s.Offsets[j-1] || !l.inGap(off, sumLength) {
				return fmt.Errorf("checksum of tensor %q at byte %d is out of order or not in verbatim bytes", l.Tensors[s.Tensor].Name, off)
			}
		}
		all = append(all, s.Offsets...)
	}
	slices.Sort(all)
	for i := 1; i < len(all); i++ {
		if all[i]-all[i-1] < sumLength {
			return fmt.Errorf("checksums at bytes %d and %d overlap", all[i-1], all[i])
		}
	}
	return nil
}

// inGap reports whether bytes of the file lie within one gap between tensors.
func (l *Layout) inGap(off, length int64) bool {
	if off < 0 || length > l.Size || off > l.Size-length {
		return false
	}
	i := sort.Search(len(l.Tensors), func(i int) bool { return l.Tensors[i].Offset+l.Tensors[i].Length > off })
	return i == len(l.Tensors) || l.Tensors[i].Offset >= off+length
}

// Gaps calls fn for each run of verbatim bytes in order.
func (l *Layout) Gaps(fn func(offset, length int64) error) error {
	at := int64(0)
	for _, t := range l.Tensors {
		if t.Offset > at {
			if err := fn(at, t.Offset-at); err != nil {
				return err
			}
		}
		at = t.Offset + t.Length
	}
	if at < l.Size {
		return fn(at, l.Size-at)
	}
	return nil
}

// Schema is a hash of the names, dtypes and shapes in file order: equal for
// checkpoints of one model in one format.
func (l *Layout) Schema() [16]byte {
	h := sha256.New()
	var b []byte
	for _, t := range l.Tensors {
		b = binary.LittleEndian.AppendUint32(b[:0], uint32(len(t.Name)))
		b = append(b, t.Name...)
		b = append(b, byte(t.DType))
		b = binary.LittleEndian.AppendUint32(b, uint32(len(t.Shape)))
		for _, d := range t.Shape {
			b = binary.LittleEndian.AppendUint64(b, uint64(d))
		}
		h.Write(b)
	}
	return [16]byte(h.Sum(nil)[:16])
}
