package codec

import (
	"errors"

	"excpfs/tensor"
)

// ErrCorrupt is wrapped by every error about a payload that no encoder wrote.
var ErrCorrupt = errors.New("corrupt payload")

// Method says how a tensor is stored.
type Method uint8

// Methods. The numbers are part of the format.
const (
	Same     Method = 0 // equal to the base's tensor; no chunks
	Exact    Method = 1 // chunks of EncodeExact without base
	Delta    Method = 2 // chunks of EncodeExact against the base's bytes
	Residual Method = 3 // base + codebook[symbol] at the support, base elsewhere
	Codebook Method = 4 // codebook[symbol] at the support, +0 elsewhere (moments)
	maxMethod
)

// Valid reports whether m is one of the methods above.
func (m Method) Valid() bool { return m < maxMethod }

// ChunkBytes is the most that one chunk decodes to.
const ChunkBytes = 1 << 20

// Grid is a tensor seen as a matrix: codec's contexts are its rows and columns.
type Grid struct{ Rows, Cols int64 }

// GridOf folds a shape into a matrix: the cut between two dimensions that makes the
// longer side shortest, the first of equal ones. Vectors and scalars are one row.
func GridOf(shape []int64) Grid {
	n, ok := tensor.Product(shape)
	if !ok || n == 0 {
		return Grid{0, 0}
	}
	best := Grid{1, n}
	if len(shape) < 2 {
		return best
	}
	rows := int64(1)
	for _, d := range shape[:len(shape)-1] {
		rows *= d
		if g := (Grid{rows, n / rows}); max(g.Rows, g.Cols) < max(best.Rows, best.Cols) {
			best = g
		}
	}
	return best
}

// ChunkElems is the number of elements in every chunk but the last: whole rows of
// the grid where a row is at most ChunkBytes, else ChunkBytes worth. It depends on
// dtype and shape alone, so equal tensors of a chain have equal chunks.
func ChunkElems(d tensor.DType, shape []int64) int64 {
	elems := int64(ChunkBytes / d.Width())
	cols := GridOf(shape).Cols
	if cols == 0 || cols > elems || d.Bits() < 8 {
		return elems
	}
	return elems / cols * cols
}

// Copy is copy for what is read soon: a chunk that is copied at once bypasses the
// processor's caches.
func Copy(dst, src []byte) int {
	n := copy(dst[:min(len(dst), ChunkBytes/2)], src)
	return n + copy(dst[n:], src[n:])
}
