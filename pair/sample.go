package pair

import (
	"context"
	"math"

	"excpfs/tensor"
)

const (
	sampleElems = 64 << 10  // of a tensor at most
	spanElems   = 4 << 10   // of a sample read in one piece
	spread      = 16        // spans of a sample at least
	sampleBytes = 256 << 20 // of all samples held at a time
	fewest      = 4         // values that have a mean worth taking off
	rowElems    = 32        // of a row at least
	maxStep     = 10        // of a direction: a second moment next to nothing makes none certain
)

// span is a run of elements.
type span struct{ at, n int64 }

// plan is what is read of a tensor of a shape: rows of one width, from the same
// columns, spread over it.
type plan struct {
	spans       []span
	rows, width int
}

func newPlan(dims []int64, limit int64) plan {
	n, ok := tensor.Product(dims)
	if !ok || n == 0 {
		return plan{}
	}
	cols := rowWidth(dims)
	rows := n / cols
	if n <= limit {
		return plan{[]span{{0, n}}, int(rows), int(cols)}
	}
	piece := max(256, min(spanElems, limit/spread))
	width := min(cols, piece)
	high := min(max(1, piece/width), rows) // rows a span
	count := max(1, min(limit/(high*width), rows/high))
	p := plan{nil, int(count * high), int(width)}
	step := (rows - high) / max(1, count-1)
	for i := range count {
		p.spans = append(p.spans, span{step*i*cols + (cols-width)/2, high * width})
	}
	return p
}

// rowWidth is the width of a row: the last dimension, with those before it where it is
// small, as in kernels of convolutions.
func rowWidth(dims []int64) int64 {
	width := int64(1)
	for i := len(dims) - 1; i >= 0 && (i == len(dims)-1 || i > 0 && width < rowElems); i-- {
		width *= dims[i]
	}
	return width
}

func (p plan) elems() int { return p.rows * p.width }

func (p plan) read(ctx context.Context, r Reader) ([]float32, error) {
	v := make([]float32, p.elems())
	at := int64(0)
	for _, s := range p.spans {
		if err := r(ctx, v[at:at+s.n], s.at); err != nil {
			return nil, err
		}
		at += s.n
	}
	return v, nil
}

// sample holds the values of a tensor as a vector of length one, without what rows
// and columns have in common: that is alike in tensors that have nothing to do with
// each other.
type sample struct {
	v []float32 // nil: nothing to compare
	n float64   // independent values in it
}

// residual samples the change of a weight.
func (p plan) residual(ctx context.Context, r Reader) (sample, error) {
	v, err := p.read(ctx, r)
	if err != nil {
		return sample{}, err
	}
	for i, x := range v {
		if !finite(x) {
			v[i] = 0
		}
	}
	return p.sample(v, nil), nil
}

// direction samples where the moments point to. Elements that had no gradient are left out.
func (p plan) direction(ctx context.Context, m, v Reader) (sample, error) {
	u, err := p.read(ctx, m)
	if err != nil {
		return sample{}, err
	}
	sq, err := p.read(ctx, v)
	if err != nil {
		return sample{}, err
	}
	out := make([]bool, len(u))
	for i, x := range u {
		step := -float64(x) / math.Sqrt(float64(sq[i]))
		if out[i] = x == 0 || !(sq[i] > 0) || !finite(x) || !finite(sq[i]); out[i] {
			step = 0
		}
		u[i] = float32(max(-maxStep, min(maxStep, step)))
	}
	return p.sample(u, out), nil
}

func finite(x float32) bool { return x-x == 0 }

func (p plan) sample(v []float32, out []bool) sample {
	left := p.elems()
	for _, o := range out {
		if o {
			left--
		}
	}
	n := float64(left)
	before := power(v)
	if p.width >= fewest {
		centre(v, out, p.rows, p.width, p.width, 1)
		n *= 1 - 1/float64(p.width)
	}
	if p.rows >= fewest {
		centre(v, out, p.width, p.rows, 1, p.width)
		n *= 1 - 1/float64(p.rows)
	}
	sum := power(v)
	if n < 1 || sum <= before*1e-10 { // what rounding leaves of equal values is no change
		return sample{}
	}
	scale := 1 / math.Sqrt(sum)
	for i, x := range v {
		v[i] = float32(float64(x) * scale)
	}
	return sample{v, n}
}

func power(v []float32) (sum float64) {
	for _, x := range v {
		sum += float64(x) * float64(x)
	}
	return sum
}

// centre takes the mean off each of count lines of values. The values of a line are
// step apart, the lines next.
func centre(v []float32, out []bool, count, values, next, step int) {
	for l := range count {
		sum, n := 0.0, 0.0
		for i := range values {
			if at := l*next + i*step; out == nil || !out[at] {
				sum += float64(v[at])
				n++
			}
		}
		mean := float32(sum / max(1, n))
		for i := range values {
			if at := l*next + i*step; out == nil || !out[at] {
				v[at] -= mean
			}
		}
	}
}
