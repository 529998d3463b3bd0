package encode

import (
	"bytes"
	"context"
	"io"
	"math"

	"excpfs/archive"
	"excpfs/codec"
	"excpfs/decode"
	"excpfs/tensor"
)

// MeanSquares computes the mean of each exp_avg_sq tensor of a plain file, by the weight in its name.
func MeanSquares(ctx context.Context, src io.ReaderAt, l *tensor.Layout) (map[string]float64, error) {
	means := map[string]float64{}
	var s scratch
	for _, t := range l.Tensors {
		role, weight := tensor.RoleOf(t.Name)
		if _, have := means[weight]; have || role != tensor.ExpAvgSq || !t.DType.Lossy() {
			continue
		}
		g, all := geometryOf(t), newTally()
		for k := range g.chunks() {
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			var err error
			if s.orig, err = readSpan(src, t, g.chunk(k), s.orig); err != nil {
				return nil, err
			}
			s.floats(s.orig, t.DType)
			all.add(s.x)
		}
		means[weight] = all.sum / float64(all.n)
	}
	return means, nil
}

// Fit says how well a candidate serves as base.
type Fit struct {
	RMS       float64 // of the residual of the float weights, relative to the weights'
	Quantized bool    // the sample is exactly base + at most 2^bits-1 centres: a decoded file come back
	ExactBits float64 // estimated bits a byte of input, for comparison between candidates and none; profile exact only
}

// Compare measures a candidate, by a sample of every float tensor. cand nil: ExactBits without base.
func Compare(ctx context.Context, src io.ReaderAt, l *tensor.Layout, cand *decode.File, p archive.Profile) (Fit, error) {
	c := comparison{src: src, cand: cand, limit: 1<<min(p.Bits, 8) - 1, names: byName(cand), quantized: true,
		sizes: p.Name == ProfileExact}
	for _, t := range l.Tensors {
		if err := ctx.Err(); err != nil {
			return Fit{}, err
		}
		if err := c.tensor(ctx, t); err != nil {
			return Fit{}, err
		}
	}
	f := Fit{RMS: math.NaN(), Quantized: c.quantized && c.lossy, ExactBits: 8}
	if c.matched {
		f.RMS = math.Sqrt(c.change / c.weight)
		if c.change == 0 {
			f.RMS = 0
		}
	}
	if c.sizes && c.bytes > 0 {
		f.ExactBits = 8 * c.exact / c.bytes
	}
	return f, nil
}

// comparison gathers a sample of a file and a candidate. Sums are scaled up to whole tensors.
type comparison struct {
	src              io.ReaderAt
	cand             *decode.File
	names            map[string]int
	limit            int
	weight, change   float64 // sums of squares
	exact, bytes     float64
	sizes            bool // exact and its bytes are wanted
	matched          bool // a float weight is in both
	lossy, quantized bool // there is one that may be quantized; all of them are
	s                scratch
}

func (c *comparison) tensor(ctx context.Context, t tensor.Info) error {
	b, ok := c.names[t.Name]
	if ok {
		ok = sameKind(t, c.cand.Index().Tensors[b].Info)
	}
	g := geometryOf(t)
	part := tensorSample{sizes: c.sizes, rep: codec.NewRepresentable(max(1, c.limit), t.DType), whole: true, same: true}
	for _, sp := range g.spread(samples, int64(sampleSize/t.DType.Width())) {
		var err error
		if c.s.orig, err = readSpan(c.src, t, sp, c.s.orig); err != nil {
			return err
		}
		var base []byte
		if ok {
			c.s.base = sized(c.s.base, len(c.s.orig))
			base = c.s.base
			if err := c.cand.ReadTensor(ctx, b, base, sp.start*int64(t.DType.Width())); err != nil {
				return err
			}
		}
		part.add(&c.s, base, t.DType)
	}
	if part.n > 0 {
		c.add(t, &part, ok)
	}
	return nil
}

func (c *comparison) add(t tensor.Info, part *tensorSample, matched bool) {
	scale := float64(t.Length) / float64(part.n)
	c.bytes += float64(t.Length)
	c.exact += scale * float64(min(part.alone, part.delta))
	role, _ := tensor.RoleOf(t.Name)
	counter := t.Elems() == 1 || tensor.OptimizerState(t.Name) // may be far larger than any weight
	if role != tensor.Weight || !t.DType.Lossy() || !matched || counter {
		return
	}
	if sum := part.weight + part.change; math.IsNaN(sum) || math.IsInf(sum, 0) {
		return
	}
	c.matched = true
	c.weight += scale * part.weight
	c.change += scale * part.change
	if !LossyWeight(t) {
		return
	}
	c.lossy = true
	if !part.same && part.whole {
		_, part.whole = part.rep.Centres()
	}
	// What is too far from its base was stored exactly, and says nothing.
	far := math.Sqrt(part.change) > MaxBaseRMS*math.Sqrt(part.weight)
	c.quantized = c.quantized && (part.same || part.whole || far)
}

// tensorSample is what the sample of one tensor tells.
type tensorSample struct {
	sizes           bool
	n, alone, delta int // bytes, and as coded exactly
	weight, change  float64
	rep             *codec.Representable
	whole, same     bool
}

func (p *tensorSample) add(s *scratch, base []byte, d tensor.DType) {
	p.n += len(s.orig)
	if p.sizes {
		alone := len(codec.EncodeExact(s.payload[:0], s.orig, nil, d))
		p.alone += alone
		if base == nil {
			p.delta += alone
		} else {
			p.delta += len(codec.EncodeExact(s.payload[:0], s.orig, base, d))
		}
	}
	if base == nil || !d.Lossy() {
		return
	}
	s.floats(s.orig, d)
	s.differences(s.orig, base, d)
	p.weight += sumSquares(s.x)
	p.change += sumSquares(s.d)
	p.same = p.same && bytes.Equal(s.orig, base)
	p.whole = p.whole && p.rep.Add(s.orig, base)
}
