package codec

import (
	"cmp"
	"math"
	"slices"

	"excpfs/tensor"
)

// Representable looks for at most k centres such that ApplyResidual turns base into w exactly;
// it answers false when there are none. That is how a decoded file is known again.
//
// Each changed element allows an interval of centres. Intervals that contain another one
// say nothing new; the fewest points that meet the rest are found by sweeping over their
// upper ends. Memory is bounded: islands of overlapping intervals that all share a point
// are replaced by what they share, and a tensor that still has too many is given up.
type Representable struct {
	k     int
	d     tensor.DType
	spans []span
	limit int  // how many intervals are kept before they are thinned out
	done  bool // given up
}

// span is a closed interval of float32.
type span struct{ lo, hi float32 }

// Limits on the intervals kept: small at first, so that what is not representable is given up soon.
const (
	minSpans = 1 << 10
	maxSpans = 1 << 18
)

// NewRepresentable begins for one tensor.
func NewRepresentable(k int, d tensor.DType) *Representable {
	return &Representable{k: min(k, maxCentres), d: d, limit: minSpans, done: !d.Lossy()}
}

// Add takes in one chunk; false: give up.
func (r *Representable) Add(w, base []byte) bool {
	k := r.d.Width()
	for i := 0; i+k <= len(w) && !r.done; i += k {
		x, y := load(w[i:], k), load(base[i:], k)
		if x == y {
			continue
		}
		s, ok := r.span(x, y)
		if !ok {
			r.done = true
			break
		}
		if n := len(r.spans); n > 0 && r.spans[n-1] == s {
			continue
		}
		r.spans = append(r.spans, s)
		if len(r.spans) >= r.limit {
			r.thin()
		}
	}
	return !r.done
}

// Centres ends; ok only if every element can be met (the caller still verifies by decoding).
func (r *Representable) Centres() (centres []float32, ok bool) {
	if r.done {
		return nil, false
	}
	r.spans = minimal(r.spans)
	met := meet(r.spans)
	if len(met) > r.k {
		return nil, false
	}
	for _, s := range met {
		c := s.lo + (s.hi-s.lo)/2
		if c == 0 || c < s.lo || c > s.hi {
			c = s.lo
		}
		if c == 0 || c != c {
			c = s.hi
		}
		if c == 0 || len(centres) > 0 && c <= centres[len(centres)-1] {
			return nil, false
		}
		centres = append(centres, c)
	}
	return centres, true
}

// Match gives each changed element, in the order of pos, a centre that turns base into w: the
// nearest to the difference if it does, else any other. false: an element has none.
func (r *Representable) Match(sym []uint8, w, base []byte, pos []uint32, centres []float32) ([]uint8, bool) {
	sym = Assign(sym, Differences(nil, w, base, r.d), pos, centres)
	k := r.d.Width()
	for i, p := range pos {
		x, y := load(w[int(p)*k:], k), load(base[int(p)*k:], k)
		if int(sym[i]) < len(centres) && r.sum(y, centres[sym[i]]) == x {
			continue
		}
		at := slices.IndexFunc(centres, func(c float32) bool { return r.sum(y, c) == x })
		if at < 0 {
			return sym, false
		}
		sym[i] = uint8(at)
	}
	return sym, true
}

// thin makes room, or gives up.
func (r *Representable) thin() {
	r.spans = minimal(r.spans)
	if len(meet(r.spans)) > r.k {
		r.done = true
		return
	}
	r.spans = islands(r.spans)
	for len(r.spans) > r.limit/2 && !r.done {
		r.limit *= 2
		r.done = r.limit > maxSpans
	}
}

// minimal drops intervals that contain another; both ends of what is left ascend.
func minimal(spans []span) []span {
	slices.SortFunc(spans, func(a, b span) int {
		return cmp.Or(cmp.Compare(a.lo, b.lo), cmp.Compare(b.hi, a.hi))
	})
	out := spans[:0]
	for _, s := range spans {
		for len(out) > 0 && out[len(out)-1].hi >= s.hi {
			out = out[:len(out)-1]
		}
		out = append(out, s)
	}
	return out
}

// meet groups minimal intervals so that those of a group share a point, in as few
// groups as there can be, and returns what each group shares.
func meet(spans []span) (out []span) {
	for _, s := range spans {
		if n := len(out); n > 0 && s.lo <= out[n-1].hi {
			out[n-1].lo = s.lo
			continue
		}
		out = append(out, s)
	}
	return out
}

// islands replaces runs of overlapping intervals that all share a point by what they share.
func islands(spans []span) []span {
	out := spans[:0]
	for i := 0; i < len(spans); {
		j := i + 1
		for j < len(spans) && spans[j].lo <= spans[j-1].hi {
			j++
		}
		if last := spans[j-1]; last.lo <= spans[i].hi {
			out = append(out, span{last.lo, spans[i].hi})
		} else {
			out = append(out, spans[i:j]...)
		}
		i = j
	}
	return out
}

// span finds the float32 values c for which base + c rounds to w.
func (r *Representable) span(w, base uint64) (span, bool) {
	x, y := r.value(w), r.value(base)
	c := float32(x - y)
	if r.sum(base, c) != w {
		return span{}, false
	}
	below, above := r.value(w-1), r.value(w+1)
	if x < 0 {
		below, above = above, below
	}
	reach := func(next float64) float32 { // as far as c can go towards the neighbour
		if math.IsInf(next, 0) || next != next || x == 0 {
			return c
		}
		return r.edge(w, base, c, float32((x+next)/2-y))
	}
	return span{reach(below), reach(above)}, true
}

// edge finds the last value that gives w on the way from c, which does, to end, which is
// about where that ceases.
func (r *Representable) edge(w, base uint64, c, end float32) float32 {
	if r.sum(base, end) == w {
		return end
	}
	in, out := int64(ordered32(math.Float32bits(c))), int64(ordered32(math.Float32bits(end)))
	for in-out > 1 || out-in > 1 {
		mid := (in + out) / 2
		if r.sum(base, math.Float32frombits(unordered32(uint32(mid)))) == w {
			in = mid
		} else {
			out = mid
		}
	}
	return math.Float32frombits(unordered32(uint32(in)))
}

// value of the bits of an element.
func (r *Representable) value(b uint64) float64 {
	switch r.d {
	case tensor.F32:
		return float64(math.Float32frombits(uint32(b)))
	case tensor.BF16:
		return float64(fromBF16(uint16(b)))
	case tensor.F16:
		return float64(fromF16(uint16(b)))
	}
	return math.Float64frombits(b)
}

// sum is ApplyResidual of one element.
func (r *Representable) sum(base uint64, c float32) uint64 {
	switch r.d {
	case tensor.F32:
		return uint64(math.Float32bits(math.Float32frombits(uint32(base)) + c))
	case tensor.BF16:
		return uint64(toBF16(fromBF16(uint16(base)) + c))
	case tensor.F16:
		return uint64(toF16(fromF16(uint16(base)) + c))
	}
	return math.Float64bits(math.Float64frombits(base) + float64(c))
}
