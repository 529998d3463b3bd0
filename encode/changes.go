package encode

import (
	"context"
	"slices"
	"sync/atomic"

	"excpfs/codec"
	"excpfs/tensor"
)

// maskBudget bounds the masks that are kept between passes; the others are computed again.
const maskBudget = 32 << 20

// budget is a number of bytes to share out.
type budget struct{ left atomic.Int64 }

func (b *budget) take(n int64) bool {
	if b.left.Add(-n) >= 0 {
		return true
	}
	b.give(n)
	return false
}

func (b *budget) give(n int64) { b.left.Add(n) }

// changes tells which elements of a decoded weight differ from its base: the
// domain of its moments' support.
type changes struct {
	e       *encoder
	info    tensor.Info
	own     int   // tensor of this file, or -1
	plan    *plan // of own
	base    int   // tensor of in.Base that own is a difference to
	file    int   // of in.Weights, where own is -1,
	sibling int   // and its tensor
	kept    codec.Bitmap
}

// domain finds the changes of one weight once, and lets go of them with its last moment.
type domain struct {
	memo[*changes]
	users atomic.Int64 // moments yet to be written
}

// written lets go of what moment i needed last.
func (e *encoder) written(i int) {
	_, weight := e.roleOf(i)
	d, ok := e.domains[weight]
	if !ok || e.groups[i] == nil || d.users.Add(-1) > 0 {
		return
	}
	if c, _ := d.get(func() (*changes, error) { return nil, nil }); c != nil {
		c.drop()
	}
}

// changesOf gives nil where nothing is known or nothing changed.
func (e *encoder) changesOf(ctx context.Context, weight string, shape []int64) (*changes, error) {
	c, err := e.domains[weight].get(func() (*changes, error) {
		c, err := e.findChanges(ctx, weight)
		if c == nil || err != nil {
			return nil, err
		}
		some, err := c.prepare(ctx)
		if !some {
			return nil, err
		}
		return c, err
	})
	if c == nil || !slices.Equal(c.info.Shape, shape) {
		return nil, err
	}
	return c, err
}

func (e *encoder) findChanges(ctx context.Context, weight string) (*changes, error) {
	c := &changes{e: e, own: -1, file: -1, sibling: -1}
	if i, ok := e.weights[weight]; ok {
		p, err := e.plan(ctx, i)
		if err != nil || p.method != codec.Delta && p.method != codec.Residual {
			return nil, err
		}
		c.info, c.own, c.plan, c.base = e.tensors[i], i, p, e.baseOf(i)
		return c, nil
	}
	at, ok := e.sibling[weight]
	if !ok || e.in.Weights[at.file].Base() == nil {
		return nil, nil
	}
	f := e.in.Weights[at.file]
	c.info, c.file, c.sibling = f.Index().Tensors[at.tensor].Info, at.file, at.tensor
	has, err := f.BaseTensor(ctx, at.tensor, nil, 0)
	if !has {
		return nil, err
	}
	return c, err
}

// prepare keeps the mask where there is room, and reports whether anything changed.
func (c *changes) prepare(ctx context.Context) (bool, error) {
	const step = 1 << 18 // elements: whole words
	n := c.info.Elems()
	if n := (n + 7) / 8; c.e.masks.take(n) {
		c.kept = codec.NewBitmap(int(c.info.Elems()))
	}
	some := false
	part := codec.NewBitmap(step)
	for at := int64(0); at < n && !(some && c.kept == nil); at += step {
		if err := ctx.Err(); err != nil {
			return false, err
		}
		sp := span{at, int(min(step, n-at))}
		clear(part)
		if err := c.compute(ctx, part, sp); err != nil {
			return false, err
		}
		some = some || slices.ContainsFunc(part, func(w uint64) bool { return w != 0 })
		if c.kept != nil {
			copy(c.kept[at/64:], part)
		}
	}
	if !some {
		c.drop()
	}
	return some, nil
}

// drop gives the kept mask back.
func (c *changes) drop() {
	if c.kept != nil {
		c.kept = nil
		c.e.masks.give((c.info.Elems() + 7) / 8)
	}
}

// mask sets the bits of a run of elements in dst, which is clear.
func (c *changes) mask(ctx context.Context, dst codec.Bitmap, sp span) error {
	if c.kept == nil {
		return c.compute(ctx, dst, sp)
	}
	from, shift := sp.start/64, uint(sp.start%64)
	for i := range dst {
		dst[i] = c.kept[from+int64(i)] >> shift
		if next := from + int64(i) + 1; shift > 0 && next < int64(len(c.kept)) {
			dst[i] |= c.kept[next] << (64 - shift)
		}
	}
	if tail := sp.n % 64; tail > 0 {
		dst[len(dst)-1] &= 1<<tail - 1
	}
	return nil
}

func (c *changes) compute(ctx context.Context, dst codec.Bitmap, sp span) error {
	s := c.e.scratch()
	defer c.e.release(s)
	d := c.info.DType
	if c.own < 0 {
		n, at := sp.n*d.Width(), sp.start*int64(d.Width())
		s.dec, s.base = sized(s.dec, n), sized(s.base, n)
		f := c.e.in.Weights[c.file]
		if err := f.ReadTensor(ctx, c.sibling, s.dec, at); err != nil {
			return err
		}
		if _, err := f.BaseTensor(ctx, c.sibling, s.base, at); err != nil {
			return err
		}
	} else {
		if err := c.plan.coder.decoded(ctx, s, sp); err != nil {
			return err
		}
		if err := c.e.readBase(ctx, s, c.base, sp); err != nil {
			return err
		}
	}
	codec.Changed(dst, s.dec, s.base, d)
	return nil
}
