package encode

import (
	"context"

	"excpfs/codec"
	"excpfs/tensor"
)

// plan is how one tensor is stored.
type plan struct {
	method  codec.Method
	coder   coder
	model   []byte
	base    bool   // needs the tensor of the same name of in.Base
	mask    string // weight whose changes are the domain of the support; "": none
	sibling int    // that weight is in this one of in.Weights, or -1
	support int    // tensor whose Supports this one shares, or -1
}

// coder codes chunks of a planned tensor. It is safe for concurrent use.
type coder interface {
	// decoded fills s.orig and s.dec. sp is any run of elements.
	decoded(ctx context.Context, s *scratch, sp span) error
	// encode fills s.payload and s.support as well. sp is a chunk.
	encode(ctx context.Context, s *scratch, sp span) error
}

// plan decides on tensor i.
func (e *encoder) plan(ctx context.Context, i int) (*plan, error) {
	return e.plans[i].get(func() (*plan, error) {
		switch g := e.groups[i]; {
		case !e.excp():
			return e.planExact(ctx, i)
		case g != nil:
			return e.planMoment(ctx, g, i)
		default:
			return e.planWeight(ctx, i)
		}
	})
}

func (e *encoder) planWeight(ctx context.Context, i int) (*plan, error) {
	t, b := e.tensors[i], e.baseOf(i)
	if b < 0 || !LossyWeight(t) || e.exactOnly(i) {
		return e.planExact(ctx, i)
	}
	p, err := e.planResidual(ctx, i, b)
	if p != nil || err != nil {
		return p, err
	}
	return e.planExact(ctx, i)
}

// LossyWeight says whether a weight may be quantized at all.
func LossyWeight(t tensor.Info) bool {
	matrix := len(t.Shape) >= 2 || tensor.Flat(t.Name)
	return t.DType.Lossy() && matrix && t.Elems() >= MinWeightElems && !tensor.OptimizerState(t.Name) && tensor.Named(t.Name)
}

// meanSq is the mean of exp_avg_sq of a weight, or -1.
func (e *encoder) meanSq(ctx context.Context, weight string) (float64, error) {
	if i := e.first(e.moments[weight], tensor.ExpAvgSq); i >= 0 {
		st, err := e.stat(ctx, i)
		return st.sum / float64(st.n), err
	}
	if e.in.MeanSq != nil {
		if m, ok := e.in.MeanSq(weight); ok {
			return m, nil
		}
	}
	return -1, nil
}
