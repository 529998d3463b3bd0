package codec

import (
	"math"
	"math/bits"
	"slices"

	"gonum.org/v1/gonum/floats"
	"gonum.org/v1/gonum/stat"
)

// Histogram gathers values for FitCodebook: counts and sums by the leading bits of the float.
type Histogram struct {
	bins     []bin     // by the leading bits, in the order of the values; nil while there are few
	distinct []float32 // ascending, without zero; stops growing beyond maxCentres
	zero     bool      // a kept value was zero
	few      []float32 // the values themselves as long as there are at most maxFew
	n        int
}

// maxFew is how many values are clustered as they are.
const maxFew = 2048

type bin struct {
	n   float64
	sum float64
}

// Add takes in the values of x that mask keeps.
func (h *Histogram) Add(x []float32, mask Bitmap) {
	for w := 0; w<<6 < len(x); w++ {
		for m := mask.word(w, 0, len(x)); m != 0; m &= m - 1 {
			v := x[w<<6+bits.TrailingZeros64(m)]
			if h.bins != nil && len(h.distinct) > maxCentres && v != 0 {
				h.n++
				h.bins[leading(v)].add(v)
			} else {
				h.first(v)
			}
		}
	}
}

// first takes in a value while the first ones are still looked at one by one.
func (h *Histogram) first(v float32) {
	if v == 0 {
		h.zero = true
		return
	}
	if i, ok := slices.BinarySearch(h.distinct, v); !ok && len(h.distinct) <= maxCentres {
		h.distinct = slices.Insert(h.distinct, i, v)
	}
	if h.n++; h.n <= maxFew {
		h.few = append(h.few, v)
		return
	}
	if h.bins == nil {
		h.bins = make([]bin, 1<<leadingBits)
		for _, f := range h.few {
			h.bins[leading(f)].add(f)
		}
	}
	h.bins[leading(v)].add(v)
}

func (b *bin) add(v float32) {
	b.n++
	b.sum += float64(v)
}

// leadingBits are sign, exponent and 8 bits of mantissa.
const leadingBits = 17

// leading numbers bins by the leading bits, in the order of the values.
func leading(v float32) uint32 { return ordered32(math.Float32bits(v)) >> (32 - leadingBits) }

// Distinct returns the distinct non-zero values, or false when there are more than limit.
func (h *Histogram) Distinct(limit int) ([]float32, bool) {
	if len(h.distinct) > min(limit, maxCentres) {
		return nil, false
	}
	return h.distinct, true
}

// FitCodebook returns at most k centres in ascending order that minimise the squared
// error of the gathered values: exact one-dimensional clustering (dynamic programme over the
// histogram). When a kept value was zero, zero is one more centre.
func FitCodebook(h *Histogram, k int) []float32 {
	centres, ok := h.Distinct(k)
	if !ok {
		centres = cluster(h.merged(k), k)
	}
	if !h.zero {
		return centres
	}
	i, ok := slices.BinarySearch(centres, 0)
	if ok {
		return centres
	}
	return slices.Insert(slices.Clone(centres), i, 0)
}

// merged is the values when they are few, else the non-empty bins, neighbours joined
// while they span little of the standard deviation.
func (h *Histogram) merged(k int) (out []bin) {
	if h.n <= maxFew {
		slices.Sort(h.few)
		for _, v := range h.few {
			out = append(out, bin{1, float64(v)})
		}
		return out
	}
	var means, counts []float64
	for _, b := range h.bins {
		if b.n > 0 {
			means, counts = append(means, b.sum/b.n), append(counts, b.n)
		}
	}
	span := stat.PopStdDev(means, counts) / float64(16*k)
	first := math.Inf(-1) // mean of the first bin joined into the last of out
	for _, b := range h.bins {
		if b.n == 0 {
			continue
		}
		mean := b.sum / b.n
		if l := len(out) - 1; l >= 0 && mean-first < span && (mean < 0) == (first < 0) {
			out[l].n += b.n
			out[l].sum += b.sum
			continue
		}
		out = append(out, b)
		first = mean
	}
	return out
}

// cluster parts bins into at most k runs of least squared error and returns their means.
func cluster(bins []bin, k int) []float32 {
	p := newPrefix(bins)
	n := len(bins)
	k = min(k, n)
	cost := make([]float64, n+1) // of the first i bins in the runs so far
	next := make([]float64, n+1)
	for i := 1; i <= n; i++ {
		cost[i] = math.Inf(1)
	}
	cut := make([][]int32, k)
	for j := range cut {
		cut[j] = make([]int32, n+1)
		next[0] = math.Inf(1)
		p.layer(cost, next, cut[j], j+1, n, j, n-1)
		cost, next = next, cost
	}
	runs := make([]bin, k)
	for j, end := k-1, n; j >= 0; j-- {
		from := int(cut[j][end])
		runs[j] = bin{p.n[end] - p.n[from], p.sum[end] - p.sum[from]}
		end = from
	}
	return centresOf(runs, cost[n])
}

// centresOf returns the means of runs, in as few bytes each as leave the squared error
// practically what it is.
func centresOf(runs []bin, sqErr float64) []float32 {
	const slack = 0.002
	centres := make([]float32, len(runs))
	for _, drop := range []uint{16, 8, 0} {
		add := 0.0
		for i, r := range runs {
			mean := r.sum / r.n
			centres[i] = shorten(float32(mean), drop)
			e := float64(centres[i]) - mean
			add += r.n * e * e
		}
		if add <= slack*sqErr {
			break
		}
	}
	slices.Sort(centres)
	centres = slices.Compact(centres)
	return slices.DeleteFunc(centres, func(c float32) bool { return c == 0 || c != c })
}

// shorten rounds away the lowest bits of a float.
func shorten(f float32, drop uint) float32 {
	b := math.Float32bits(f)
	half := uint32(1) << drop >> 1
	if s := math.Float32frombits((b + half) &^ (1<<drop - 1)); !math.IsInf(float64(s), 0) && s == s {
		return s
	}
	return f
}

// prefix is running sums of bins: counts, sums, squares of the means.
type prefix struct{ n, sum, sq []float64 }

func newPrefix(bins []bin) prefix {
	p := prefix{make([]float64, len(bins)+1), make([]float64, len(bins)+1), make([]float64, len(bins)+1)}
	for i, b := range bins {
		p.n[i+1], p.sum[i+1], p.sq[i+1] = b.n, b.sum, b.sum*b.sum/b.n
	}
	for _, x := range [][]float64{p.n, p.sum, p.sq} {
		floats.CumSum(x, x)
	}
	return p
}

// cost is the squared error of bins [i, j) around their mean, less that inside the bins.
func (p prefix) cost(i, j int) float64 {
	s := p.sum[j] - p.sum[i]
	return p.sq[j] - p.sq[i] - s*s/(p.n[j]-p.n[i])
}

// layer finds next[i], for i in [lo, hi], over last cuts in [from, to]: the best cut
// never falls as i rises, so halving the range of i halves that of the cuts.
func (p prefix) layer(cost, next []float64, cut []int32, lo, hi, from, to int) {
	for lo <= hi {
		i := (lo + hi) / 2
		best, at := math.Inf(1), from
		for c := from; c <= min(to, i-1); c++ {
			if e := cost[c] + p.cost(c, i); e < best {
				best, at = e, c
			}
		}
		next[i], cut[i] = best, int32(at)
		p.layer(cost, next, cut, lo, i-1, from, at)
		lo, from = i+1, at
	}
}
