package decode

import (
	"fmt"
	"testing"

	"excpfs/cache"
	"excpfs/tensor"
)

// BenchmarkChunk decodes one chunk of fp32 weights on one core, of which a
// tenth of the elements changes at each level.
func BenchmarkChunk(b *testing.B) {
	w := newWorld(b)
	ms := w.chain(8, tensor.F32, 256, 1024)
	for _, depth := range []int{0, 1, 4, 8} {
		b.Run(fmt.Sprintf("depth=%d", depth), func(b *testing.B) {
			f := w.open(ms[depth], cache.New(0))
			p := ref{f, 1}
			b.SetBytes(1 << 20)
			b.ReportAllocs()
			for b.Loop() {
				benchChunk(b, p)
			}
		})
	}
}

// BenchmarkMoment is the same for a moment nested in its weight's mask, at depth
// 1, when the mask must be made and when it is there.
func BenchmarkMoment(b *testing.B) {
	w := newWorld(b)
	m := w.moments(w.chain(1, tensor.F32, 256, 1024), tensor.F32)
	for _, c := range []struct {
		name   string
		budget int64
	}{{"make", 0}, {"kept", 1 << 20}} {
		b.Run("mask="+c.name, func(b *testing.B) {
			f := w.open(m, cache.New(c.budget))
			b.SetBytes(1 << 20)
			b.ReportAllocs()
			for b.Loop() {
				benchChunk(b, ref{f, 0})
			}
		})
	}
}

func benchChunk(b *testing.B, r ref) {
	p, err := r.compute(r.set.cache, 0)
	if err != nil {
		b.Fatal(err)
	}
	r.set.cache.Recycle(p)
}

// BenchmarkHit reads a chunk that is in the cache.
func BenchmarkHit(b *testing.B) {
	w := newWorld(b)
	f := w.open(w.chain(1, tensor.F32, 256, 1024)[1], cache.New(1<<26))
	b.SetBytes(1 << 20)
	b.ReportAllocs()
	for b.Loop() {
		s, err := f.ReadSlices(bg, f.ix.Tensors[1].Offset, 1<<20)
		if err != nil {
			b.Fatal(err)
		}
		s.Release()
	}
}
