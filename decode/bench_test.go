package decode

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"syscall"
	"testing"

	"excpfs/archive"
	"excpfs/cache"
	"excpfs/codec"
	"excpfs/tensor"
)

// BenchmarkRead reads 8 MiB of fp32 cold, on all cores: weights of which a tenth of the
// elements changes at each level, a moment nested in their mask, and exact weights near
// their base.
func BenchmarkRead(b *testing.B) {
	w := newWorld(b)
	ms := w.chain(8, tensor.F32, 2048, 1024)
	for _, depth := range []int{0, 1, 4, 8} {
		b.Run(fmt.Sprintf("depth=%d", depth), func(b *testing.B) { benchRead(b, w, ms[depth], "w") })
	}
	b.Run("moment", func(b *testing.B) { benchRead(b, w, w.moments(ms[:2], tensor.F32), "exp_avg.w") })
	near := w.file("near", []archive.Dep{dep(archive.RoleBase, ms[0])}, w.nudged(ms[0], "w"))
	b.Run("exact", func(b *testing.B) { benchRead(b, w, near, "w") })
}

// nudged is a tensor whose elements all moved a little.
func (w *world) nudged(m *made, name string) *part {
	p := on(m, 0, name, codec.Delta)
	p.base = bytes.Clone(p.plain)
	for i := 0; i < len(p.plain); i += 4 {
		x := math.Float32frombits(binary.LittleEndian.Uint32(p.plain[i:]))
		binary.LittleEndian.PutUint32(p.plain[i:], math.Float32bits(x+float32(w.r.NormFloat64()*0.0005)))
	}
	return p
}

// benchRead reads a tensor by 4 MiB through a cache that keeps masks alone.
func benchRead(b *testing.B, w *world, m *made, name string) {
	f := w.open(m, cache.New(1<<20))
	i, _ := f.r.Find(name)
	t := f.ix.Tensors[i]
	b.SetBytes(t.Length)
	b.ReportAllocs()
	from := cpu()
	n := 0
	for b.Loop() {
		for at := int64(0); at < t.Length; at += step {
			s, err := f.ReadSlices(bg, t.Offset+at, int(min(step, t.Length-at)))
			if err != nil {
				b.Fatal(err)
			}
			s.Release()
		}
		n++
	}
	b.ReportMetric(float64(n)*float64(t.Length)/1e6/(cpu()-from), "MB/cpu-s")
}

// cpu is the seconds of processor time that the process took.
func cpu() float64 {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return float64(u.Utime.Nano()+u.Stime.Nano()) / 1e9
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
