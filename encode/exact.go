package encode

import (
	"bytes"
	"context"

	"excpfs/codec"
)

// exact stores a tensor bit for bit.
type exact struct {
	e    *encoder
	i, b int // b: tensor of the base, -1: none
	same bool
}

const (
	samples    = 4
	sampleSize = 64 << 10 // bytes
)

func (e *encoder) planExact(ctx context.Context, i int) (*plan, error) {
	x := &exact{e: e, i: i, b: -1}
	p := &plan{method: codec.Exact, coder: x, sibling: -1, support: -1}
	b := e.baseOf(i)
	if b < 0 || e.tensors[i].Length == 0 {
		return p, nil
	}
	same, err := e.equal(ctx, i, b)
	if err != nil {
		return nil, err
	}
	if same {
		x.same, p.method, p.base = true, codec.Same, true
		return p, nil
	}
	alone, delta, err := e.sampleExact(ctx, i, b)
	if err == nil && delta < alone {
		x.b, p.method, p.base = b, codec.Delta, true
	}
	return p, err
}

func (e *encoder) equal(ctx context.Context, i, b int) (bool, error) {
	s := e.scratch()
	defer e.release(s)
	g := geometryOf(e.tensors[i])
	for k := range g.chunks() {
		if err := ctx.Err(); err != nil {
			return false, err
		}
		if err := e.readPair(ctx, s, i, b, g.chunk(k)); err != nil {
			return false, err
		}
		if !bytes.Equal(s.orig, s.base) {
			return false, nil
		}
	}
	return true, nil
}

// sampleExact measures a sample of a tensor without and with its base.
func (e *encoder) sampleExact(ctx context.Context, i, b int) (alone, delta int, err error) {
	s := e.scratch()
	defer e.release(s)
	t := e.tensors[i]
	for _, sp := range geometryOf(t).spread(samples, int64(sampleSize/t.DType.Width())) {
		if err := e.readPair(ctx, s, i, b, sp); err != nil {
			return 0, 0, err
		}
		alone += len(codec.EncodeExact(s.payload[:0], s.orig, nil, t.DType))
		delta += len(codec.EncodeExact(s.payload[:0], s.orig, s.base, t.DType))
	}
	return alone, delta, nil
}

func (x *exact) decoded(ctx context.Context, s *scratch, sp span) error {
	err := x.e.readOrig(s, x.i, sp)
	s.dec = sized(s.dec, len(s.orig))
	codec.Copy(s.dec, s.orig)
	return err
}

func (x *exact) encode(ctx context.Context, s *scratch, sp span) error {
	if err := x.decoded(ctx, s, sp); err != nil || x.same {
		return err
	}
	var base []byte
	if x.b >= 0 {
		if err := x.e.readBase(ctx, s, x.b, sp); err != nil {
			return err
		}
		base = s.base
	}
	s.payload = codec.EncodeExact(s.payload, s.orig, base, x.e.tensors[x.i].DType)
	return nil
}
