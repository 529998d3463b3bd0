package encode

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"math"
	"slices"

	"excpfs/codec"
	"excpfs/tensor"
)

// residual stores a weight as its base and a few centres to be added to it.
type residual struct {
	e       *encoder
	i, b    int // tensor of this file and of the base
	d       tensor.DType
	grid    codec.Grid
	whole   bool    // base and centres give the tensor exactly: nothing is pruned
	limit   float64 // else what is not above is pruned
	median  float32 // of |dW|
	centres []float32
	support *codec.Support
	values  *codec.Values
}

// planResidual answers nil where the tensor had better be exact. So had one without a negative
// element: it is no weight matrix but a mask, a count or a second moment by another name, whose root somebody may take.
func (e *encoder) planResidual(ctx context.Context, i, b int) (*plan, error) {
	t := e.tensors[i]
	r := &residual{e: e, i: i, b: b, d: t.DType, grid: codec.GridOf(t.Shape)}
	sc, err := r.scan(ctx)
	if err != nil || sc.equal || !sc.finite || !sc.negative {
		return nil, err
	}
	if sc.whole && len(sc.centres) > 0 {
		r.whole, r.centres = true, sc.centres
		if p, err := r.plan(ctx); p != nil || err != nil {
			return p, err
		}
		r.whole = false
	}
	if math.Sqrt(sc.changeSq) > MaxBaseRMS*math.Sqrt(sc.weightSq) {
		return nil, nil
	}
	if err := r.threshold(ctx, &sc.median); err != nil {
		return nil, err
	}
	return r.plan(ctx)
}

// scan is what one pass over a weight and its base tells.
type scan struct {
	equal, finite      bool
	negative           bool    // some element is
	weightSq, changeSq float64 // sums of squares
	median             codec.Median
	whole              bool
	centres            []float32
}

func (r *residual) scan(ctx context.Context) (*scan, error) {
	s := r.e.scratch()
	defer r.e.release(s)
	sc := &scan{equal: true, whole: true}
	rep := codec.NewRepresentable(r.e.limit, r.d)
	err := r.e.each(ctx, r.i, func(sp span) error {
		if err := r.load(ctx, s, sp); err != nil {
			return err
		}
		s.floats(s.orig, r.d)
		sc.negative = sc.negative || slices.ContainsFunc(s.x, func(x float32) bool { return x < 0 })
		sc.weightSq += sumSquares(s.x)
		sc.changeSq += sumSquares(s.d)
		sc.equal = sc.equal && bytes.Equal(s.orig, s.base)
		sc.whole = sc.whole && rep.Add(s.orig, s.base)
		sc.median.Count(s.d)
		return nil
	})
	sum := sc.weightSq + sc.changeSq
	sc.finite = !math.IsNaN(sum) && !math.IsInf(sum, 0)
	if sc.whole && err == nil {
		sc.centres, sc.whole = rep.Centres()
	}
	return sc, err
}

// load reads a run of elements and their differences.
func (r *residual) load(ctx context.Context, s *scratch, sp span) error {
	if err := r.e.readPair(ctx, s, r.i, r.b, sp); err != nil {
		return err
	}
	s.differences(s.orig, s.base, r.d)
	return nil
}

// threshold finds the limit; the first pass of the median is made.
func (r *residual) threshold(ctx context.Context, m *codec.Median) error {
	s := r.e.scratch()
	defer r.e.release(s)
	m.Narrow()
	err := r.e.each(ctx, r.i, func(sp span) error {
		err := r.load(ctx, s, sp)
		m.Count(s.d)
		return err
	})
	if err != nil {
		return err
	}
	mean, err := r.e.meanSq(ctx, r.e.tensors[r.i].Name)
	r.median = m.Value()
	r.limit = codec.WeightThreshold(r.e.in.Profile.Alpha, mean, r.median)
	return err
}

// plan fits codebook and models. It answers nil where the centres turn out not to
// give the whole tensor.
func (r *residual) plan(ctx context.Context) (*plan, error) {
	s := r.e.scratch()
	defer r.e.release(s)
	var hist codec.Histogram
	counts, spread := codec.NewCounts(r.grid, false), codec.NewSpread(r.grid)
	kept, some := 0, false
	err := r.e.each(ctx, r.i, func(sp span) error {
		if err := r.keep(ctx, s, sp); err != nil {
			return err
		}
		if r.whole {
			if err := r.apply(s); err != nil {
				return err
			}
		} else {
			hist.Add(s.d, s.mask)
		}
		kept += len(s.pos)
		some = some || slices.ContainsFunc(s.d, func(d float32) bool { return d != 0 })
		counts.Add(sp.start, sp.n, s.mask, nil)
		spread.Add(sp.start, s.d, s.mask)
		return nil
	})
	if errors.Is(err, errInexact) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if kept == 0 && some && r.limit > 0 { // changes of about one size: the rule would freeze the tensor for ever
		if m := float64(r.median); r.limit > m {
			r.limit = m
		} else {
			r.limit = 0
		}
		return r.plan(ctx)
	}
	if !r.whole && kept > 0 {
		r.centres = codec.FitCodebook(&hist, r.e.limit)
	}
	if kept == 0 || len(r.centres) == 0 { // all pruned, or the only centre is zero: decodes to the base
		r.limit = math.Inf(1)
		return &plan{method: codec.Same, coder: r, base: true, sibling: -1, support: -1}, nil
	}
	r.support, r.values = codec.FitSupport(r.grid, counts), codec.FitValues(r.grid, spread)
	model := r.values.Append(r.support.Append(codec.AppendCodebook(nil, r.centres)))
	return &plan{method: codec.Residual, coder: r, model: model, base: true, sibling: -1, support: -1}, nil
}

// keep finds what is coded of a run of elements: s.mask and s.pos.
func (r *residual) keep(ctx context.Context, s *scratch, sp span) error {
	if err := r.load(ctx, s, sp); err != nil {
		return err
	}
	s.mask = bitmap(s.mask, sp.n)
	if r.whole {
		codec.Changed(s.mask, s.orig, s.base, r.d)
	} else {
		above(s.mask, s.d, r.limit)
	}
	s.pos = positions(s.pos, s.mask)
	return nil
}

// errInexact says that the centres do not give the whole tensor.
var errInexact = errors.New("not representable")

// apply reconstructs what keep has found.
func (r *residual) apply(s *scratch) error {
	s.dec = sized(s.dec, len(s.base))
	codec.Copy(s.dec, s.base)
	s.sym = codec.Assign(s.sym[:0], s.d, s.pos, r.centres)
	if err := codec.ApplyResidual(s.dec, r.d, s.pos, s.sym, r.centres); err != nil {
		return err
	}
	if !r.whole || bytes.Equal(s.dec, s.orig) {
		return nil
	}
	return r.correct(s)
}

// correct looks for the right centre where, through rounding, it is not the nearest.
func (r *residual) correct(s *scratch) error {
	w := r.d.Width()
	one := make([]byte, w)
	for j, p := range s.pos {
		at := int(p) * w
		want := s.orig[at : at+w]
		for c := 0; !bytes.Equal(s.dec[at:at+w], want); c++ {
			if c == len(r.centres) {
				return errInexact
			}
			copy(one, s.base[at:at+w])
			s.sym[j] = uint8(c)
			if err := codec.ApplyResidual(one, r.d, []uint32{0}, s.sym[j:j+1], r.centres); err != nil {
				return err
			}
			copy(s.dec[at:], one)
		}
	}
	return nil
}

func (r *residual) decoded(ctx context.Context, s *scratch, sp span) error {
	if err := r.keep(ctx, s, sp); err != nil {
		return err
	}
	return r.apply(s)
}

func (r *residual) encode(ctx context.Context, s *scratch, sp span) error {
	if err := r.keep(ctx, s, sp); err != nil {
		return err
	}
	if len(s.pos) == 0 {
		return r.apply(s)
	}
	s.support = r.support.Encode(s.support[:0], sp.start, sp.n, s.mask, nil)
	if err := s.order(r.support, sp, nil); err != nil {
		return err
	}
	if err := r.apply(s); err != nil {
		return err
	}
	s.payload = binary.AppendUvarint(s.payload, uint64(len(s.support)))
	s.payload = append(s.payload, s.support...)
	s.payload = r.values.Encode(s.payload, sp.start, s.pos, s.sym)
	s.support = s.support[:0]
	return nil
}
