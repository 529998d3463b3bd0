package encode

import (
	"encoding/binary"
	"math"
	"math/bits"
	"slices"

	"excpfs/codec"
	"excpfs/tensor"
)

// tally gathers sums over the elements of a tensor in float64.
type tally struct {
	n            int64
	sum, abs, sq float64
	err          float64 // squared difference of the decoded
	finite       bool
}

func newTally() tally { return tally{finite: true} }

// add takes in the elements of one chunk.
func (t *tally) add(x []float32) {
	var sum, abs, sq float64
	for _, v := range x {
		f := float64(v)
		sum += f
		abs += math.Abs(f)
		sq += float64(f * f)
	}
	t.n += int64(len(x))
	t.merge(tally{sum: sum, abs: abs, sq: sq, finite: !math.IsInf(abs, 0) && !math.IsNaN(abs)})
}

// merge adds a tally of later elements.
func (t *tally) merge(u tally) {
	t.n += u.n
	t.sum += u.sum
	t.abs += u.abs
	t.sq += u.sq
	t.err += u.err
	t.finite = t.finite && u.finite
}

// relative is the error as a fraction of the tensor's own size.
func (t *tally) relative() float64 {
	if t.err == 0 {
		return 0
	}
	return math.Sqrt(t.err / t.sq)
}

// sumSquares adds the squares of x in float64.
func sumSquares(x []float32) float64 {
	var s float64
	for _, v := range x {
		s += float64(float64(v) * float64(v))
	}
	return s
}

// above sets the bits of the elements whose size is greater than limit in float64.
func above(mask codec.Bitmap, x []float32, limit float64) {
	t := float32(limit)
	if float64(t) > limit {
		t = math.Nextafter32(t, 0)
	}
	// Sizes of floats compare like their bits, and no float32 lies between t and limit.
	b := int64(math.Float32bits(t))
	for i := range mask {
		var w uint64
		for j, v := range x[i*64 : min(len(x), i*64+64)] {
			w |= uint64(b-int64(math.Float32bits(v)&^(1<<31))) >> 63 << j
		}
		mask[i] = w
	}
}

func and(a, b codec.Bitmap) {
	for i := range a {
		a[i] &= b[i]
	}
}

// inside reports whether every bit of a is also in b.
func inside(a, b codec.Bitmap) bool {
	for i := range a {
		if a[i]&^b[i] != 0 {
			return false
		}
	}
	return true
}

// positions lists the bits that are set.
func positions(pos []uint32, mask codec.Bitmap) []uint32 {
	pos = pos[:0]
	for i, w := range mask {
		for ; w != 0; w &= w - 1 {
			pos = append(pos, uint32(i*64+bits.TrailingZeros64(w)))
		}
	}
	return pos
}

// distinct gathers the distinct non-zero values of a tensor until there are too many.
type distinct struct {
	limit  int
	values []float32 // ascending
	minus  bool      // there is a -0
	many   bool
}

func (d *distinct) add(x []float32) {
	var last float32
	for _, v := range x {
		if v == 0 {
			d.minus = d.minus || math.Signbit(float64(v))
			continue
		}
		if v == last {
			continue
		}
		last = v
		i, ok := slices.BinarySearch(d.values, v)
		if ok {
			continue
		}
		if len(d.values) == d.limit || v != v {
			d.many, d.values = true, nil
			return
		}
		d.values = slices.Insert(d.values, i, v)
	}
}

// narrow reports whether float32 holds every element of a payload.
func narrow(p []byte, x []float32, d tensor.DType) bool {
	if d != tensor.F64 {
		return true
	}
	for i, v := range x {
		if float64(v) != float64At(p, i) {
			return false
		}
	}
	return true
}

func float64At(p []byte, i int) float64 {
	return math.Float64frombits(binary.LittleEndian.Uint64(p[8*i:]))
}
