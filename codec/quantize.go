package codec

import (
	"encoding/binary"
	"math"
	"slices"

	"excpfs/tensor"
)

// Floats converts n elements of a floating dtype to float32 (F64 is rounded).
func Floats(dst []float32, src []byte, d tensor.DType) []float32 {
	n := len(src) / d.Width()
	dst = slices.Grow(dst[:0], n)[:n]
	le := binary.LittleEndian
	switch d {
	case tensor.F32:
		for i := range dst {
			dst[i] = math.Float32frombits(le.Uint32(src[4*i : 4*i+4]))
		}
	case tensor.BF16:
		for i := range dst {
			dst[i] = fromBF16(le.Uint16(src[2*i : 2*i+2]))
		}
	case tensor.F16:
		for i := range dst {
			dst[i] = fromF16(le.Uint16(src[2*i : 2*i+2]))
		}
	case tensor.F64:
		for i := range dst {
			dst[i] = float32(math.Float64frombits(le.Uint64(src[8*i : 8*i+8])))
		}
	default:
		return dst[:0]
	}
	return dst
}

// Differences is w - base in float32 (in float64, then rounded, for F64).
func Differences(dst []float32, w, base []byte, d tensor.DType) []float32 {
	dst = Floats(dst, w, d)
	le := binary.LittleEndian
	switch d {
	case tensor.F32:
		for i := range dst {
			dst[i] -= math.Float32frombits(le.Uint32(base[4*i : 4*i+4]))
		}
	case tensor.BF16:
		for i := range dst {
			dst[i] -= fromBF16(le.Uint16(base[2*i : 2*i+2]))
		}
	case tensor.F16:
		for i := range dst {
			dst[i] -= fromF16(le.Uint16(base[2*i : 2*i+2]))
		}
	case tensor.F64:
		for i := range dst {
			x := math.Float64frombits(le.Uint64(w[8*i : 8*i+8]))
			dst[i] = float32(x - math.Float64frombits(le.Uint64(base[8*i:8*i+8])))
		}
	}
	return dst
}

// Changed marks the elements whose bytes differ: the residual mask of decoded weights.
func Changed(dst Bitmap, w, base []byte, d tensor.DType) {
	k := d.Width()
	for i := range len(w) / k {
		if load(w[i*k:], k) != load(base[i*k:], k) {
			dst.Set(i)
		}
	}
}

// WeightThreshold is r_w of ExCP (arXiv 2406.11257, section 3.2) with the clamp of its
// script: min(2.5, alpha / sqrt(meanSq)) * median. A mean that is zero or NaN clamps. Where it is
// unknown (negative) the factor is 1: nothing tells noise from change, so half of the elements are kept.
func WeightThreshold(alpha, meanSq float64, median float32) float64 {
	const clamp = 2.5
	factor := clamp
	if meanSq < 0 {
		factor = 1
	} else if f := alpha / math.Sqrt(meanSq); f < clamp { // false for NaN
		factor = f
	}
	return factor * float64(median)
}

// Assign gives each kept element its nearest centre (the lower of two equally near), in the order of pos.
func Assign(sym []uint8, x []float32, pos []uint32, centres []float32) []uint8 {
	sym = append(sym[:0], make([]uint8, len(pos))...)
	var edge [maxCentres]float32 // the largest value nearest to each centre
	for i := range edge {
		edge[i] = float32(math.Inf(1))
		if i+1 < len(centres) {
			edge[i] = midpoint(centres[i], centres[i+1])
		}
	}
	half := 1
	for half*2 < len(centres) {
		half *= 2
	}
	for i, p := range pos {
		v, at := x[p], 0
		for step := half; step > 0; step >>= 1 {
			if v > edge[(at+step-1)&(maxCentres-1)] {
				at += step
			}
		}
		sym[i] = uint8(at)
	}
	return sym
}

// midpoint is the largest float32 that is not nearer to b than to a.
func midpoint(a, b float32) float32 {
	m := (float64(a) + float64(b)) / 2
	f := float32(m)
	if float64(f) > m {
		f = math.Nextafter32(f, float32(math.Inf(-1)))
	}
	return f
}
