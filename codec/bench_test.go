package codec

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"syscall"
	"testing"

	"excpfs/tensor"
)

// chunkOf is the payloads of one chunk of fp32 residuals: a base and what Decode needs.
type chunkOf struct {
	base       []byte
	n          int
	sup        *Support
	val        *Values
	mask       Bitmap
	psup, pval []byte
	nest       *Support
	pnest      []byte
	centres    []float32
	sym        []uint8
	x          []float32
	posWant    []uint32
}

// makeChunk keeps about density of 256 x 1024 elements; rows and columns differ when varied.
func makeChunk(density float64, varied bool) chunkOf {
	const rows, cols = 256, 1024
	r := rand.New(rand.NewPCG(11, 12))
	g := Grid{rows, cols}
	c := chunkOf{n: rows * cols, mask: NewBitmap(rows * cols), base: make([]byte, 4*rows*cols), x: make([]float32, rows*cols)}
	for i := range c.n {
		binary.LittleEndian.PutUint32(c.base[4*i:], math.Float32bits(float32(0.02*r.NormFloat64())))
	}
	scale := func() float64 {
		if varied {
			return math.Exp(0.5 * r.NormFloat64())
		}
		return 1
	}
	cs := make([]float64, cols)
	for j := range cs {
		cs[j] = scale()
	}
	nest := NewBitmap(c.n)
	for i := range rows {
		rs := scale()
		for j := range cols {
			odds := density / (1 - density) * rs * cs[j]
			at := i*cols + j
			c.x[at] = float32(r.NormFloat64() * rs * cs[j])
			if r.Float64() < odds/(1+odds) {
				c.mask.Set(at)
				if r.Float64() < 0.15*rs {
					nest.Set(at)
				}
			}
		}
	}
	counts, spread, hist := NewCounts(g, false), NewSpread(g), new(Histogram)
	counts.Add(0, c.n, c.mask, nil)
	spread.Add(0, c.x, c.mask)
	hist.Add(c.x, c.mask)
	c.centres = FitCodebook(hist, 15)
	c.sup, c.val = FitSupport(g, counts), FitValues(g, spread)
	c.psup = c.sup.Encode(nil, 0, c.n, c.mask, nil)
	pos, err := c.sup.Decode(nil, c.psup, 0, c.n, nil)
	if err != nil {
		panic(err)
	}
	c.posWant = pos
	c.sym = Assign(nil, c.x, pos, c.centres)
	c.pval = c.val.Encode(nil, 0, pos, c.sym)
	counts = NewCounts(g, true)
	counts.Add(0, c.n, nest, c.mask)
	c.nest = FitSupport(g, counts)
	c.pnest = c.nest.Encode(nil, 0, c.n, nest, c.mask)
	return c
}

var benchCases = []struct {
	density float64
	varied  bool
}{{0.1, false}, {0.1, true}, {0.94, false}, {0.94, true}}

// report adds the speed by processor time, which a busy machine does not change.
func report(b *testing.B, bytes int, loop func()) {
	b.SetBytes(int64(bytes))
	var from, to syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &from)
	n := 0
	for b.Loop() {
		loop()
		n++
	}
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &to)
	used := to.Utime.Nano() + to.Stime.Nano() - from.Utime.Nano() - from.Stime.Nano()
	b.ReportMetric(float64(n)*float64(bytes)/1e6/(float64(used)/1e9), "MB/cpu-s")
}

func benchEach(b *testing.B, fn func(b *testing.B, c *chunkOf)) {
	for _, bc := range benchCases {
		c := makeChunk(bc.density, bc.varied)
		b.Run(fmt.Sprintf("density=%g/varied=%v", bc.density, bc.varied), func(b *testing.B) {
			fn(b, &c)
		})
	}
}

// BenchmarkResidual is a whole chunk: positions, symbols, and the sum with the base.
func BenchmarkResidual(b *testing.B) {
	benchEach(b, func(b *testing.B, c *chunkOf) {
		dst := make([]byte, len(c.base))
		var pos []uint32
		sym := make([]uint8, c.n)
		report(b, 4*c.n, func() {
			Copy(dst, c.base)
			var err error
			if pos, err = c.sup.Decode(pos[:0], c.psup, 0, c.n, nil); err != nil {
				b.Fatal(err)
			}
			if err := c.val.Decode(sym[:len(pos)], c.pval, 0, pos); err != nil {
				b.Fatal(err)
			}
			if err := ApplyResidual(dst, tensor.F32, pos, sym[:len(pos)], c.centres); err != nil {
				b.Fatal(err)
			}
		})
	})
}

func BenchmarkSupportDecode(b *testing.B) {
	benchEach(b, func(b *testing.B, c *chunkOf) {
		var pos []uint32
		report(b, 4*c.n, func() {
			pos, _ = c.sup.Decode(pos[:0], c.psup, 0, c.n, nil)
		})
	})
}

func BenchmarkNestedDecode(b *testing.B) {
	benchEach(b, func(b *testing.B, c *chunkOf) {
		var pos []uint32
		report(b, 4*c.n, func() {
			pos, _ = c.nest.Decode(pos[:0], c.pnest, 0, c.n, c.mask)
		})
	})
}

func BenchmarkValuesDecode(b *testing.B) {
	benchEach(b, func(b *testing.B, c *chunkOf) {
		sym := make([]uint8, len(c.posWant))
		report(b, 4*c.n, func() {
			_ = c.val.Decode(sym, c.pval, 0, c.posWant)
		})
	})
}

func BenchmarkSupportEncode(b *testing.B) {
	benchEach(b, func(b *testing.B, c *chunkOf) {
		var p []byte
		report(b, 4*c.n, func() {
			p = c.sup.Encode(p[:0], 0, c.n, c.mask, nil)
		})
	})
}

func BenchmarkValuesEncode(b *testing.B) {
	benchEach(b, func(b *testing.B, c *chunkOf) {
		var p []byte
		report(b, 4*c.n, func() {
			p = c.val.Encode(p[:0], 0, c.posWant, c.sym)
		})
	})
}

// BenchmarkFit is everything that looks at a tensor before its chunks are encoded.
func BenchmarkFit(b *testing.B) {
	benchEach(b, func(b *testing.B, c *chunkOf) {
		g := Grid{256, 1024}
		report(b, 4*c.n, func() {
			var m Median
			m.Count(c.x)
			m.Narrow()
			m.Count(c.x)
			m.Value()
			counts, spread, hist := NewCounts(g, false), NewSpread(g), new(Histogram)
			counts.Add(0, c.n, c.mask, nil)
			spread.Add(0, c.x, c.mask)
			hist.Add(c.x, c.mask)
			FitCodebook(hist, 15)
			FitSupport(g, counts)
			FitValues(g, spread)
		})
	})
}

// exactChunk is 1 MiB of weights and a base near them.
func exactChunk(d tensor.DType) (src, base []byte) {
	r := rand.New(rand.NewPCG(21, 22))
	for len(src) < ChunkBytes {
		x := float32(0.02 * r.NormFloat64())
		y := x + float32(0.0005*r.NormFloat64())
		switch d {
		case tensor.F32:
			src = binary.LittleEndian.AppendUint32(src, math.Float32bits(x))
			base = binary.LittleEndian.AppendUint32(base, math.Float32bits(y))
		case tensor.BF16:
			src = binary.LittleEndian.AppendUint16(src, toBF16(x))
			base = binary.LittleEndian.AppendUint16(base, toBF16(y))
		case tensor.F16:
			src = binary.LittleEndian.AppendUint16(src, toF16(x))
			base = binary.LittleEndian.AppendUint16(base, toF16(y))
		}
	}
	return src, base
}

func BenchmarkExactDecode(b *testing.B) { benchExact(b, false) }

func BenchmarkExactEncode(b *testing.B) { benchExact(b, true) }

func benchExact(b *testing.B, encode bool) {
	for _, d := range []tensor.DType{tensor.F32, tensor.BF16, tensor.F16} {
		src, near := exactChunk(d)
		for _, base := range [][]byte{nil, near} {
			p := EncodeExact(nil, src, base, d)
			dst := make([]byte, len(src))
			b.Run(fmt.Sprintf("%v/base=%v", d, base != nil), func(b *testing.B) {
				b.ReportMetric(float64(8*len(p))/float64(len(src)/d.Width()), "bits/elem")
				report(b, len(src), func() {
					if encode {
						p = EncodeExact(p[:0], src, base, d)
					} else if err := DecodeExact(dst, p, base, d); err != nil {
						b.Fatal(err)
					}
				})
			})
		}
	}
}
