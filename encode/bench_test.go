package encode

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"syscall"
	"testing"

	"excpfs/archive"
	"excpfs/tensor"
)

// BenchmarkEncode seals weights with their moments against a base, in one file of 48 MB.
func BenchmarkEncode(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 1))
	base, next := newBuilder(), newBuilder()
	for i := range 4 {
		n, shape := 1<<20, []int64{1024, 1024}
		w, m := noise(r, n, 0.1), noise(r, n, 1e-4)
		name := fmt.Sprintf("layer.%d", i)
		base.floats(name, tensor.F32, shape, w)
		next.floats(name, tensor.F32, shape, plus(w, noise(r, n, 0.005)))
		next.floats("exp_avg."+name, tensor.F32, shape, m)
		for j := range m {
			m[j] *= m[j]
		}
		next.floats("exp_avg_sq."+name, tensor.F32, shape, m)
	}
	s, p := shelf{}, next.file(b)
	on := s.seal(b, input(base.file(b), excpProfile))
	for _, prof := range []archive.Profile{excpProfile, exactProfile} {
		for _, workers := range []int{1, 2} {
			b.Run(fmt.Sprintf("%s/workers=%d", prof.Name, workers), func(b *testing.B) {
				b.SetBytes(int64(len(p.data)))
				from, n := cpu(), 0
				for ; b.Loop(); n++ {
					in := input(p, prof)
					in.Src, in.Base, in.Workers = bytes.NewReader(p.data), on.file, workers
					w, err := archive.NewWriter(io.Discard)
					if err != nil {
						b.Fatal(err)
					}
					if _, err := Encode(context.Background(), in, w); err != nil {
						b.Fatal(err)
					}
					b.ReportMetric(float64(len(p.data))/float64(w.Size()), "ratio")
				}
				b.ReportMetric(float64(n)*float64(len(p.data))/1e6/(cpu()-from), "MB/cpu-s")
			})
		}
	}
}

// cpu is the seconds of processor time that the process took.
func cpu() float64 {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return float64(u.Utime.Nano()+u.Stime.Nano()) / 1e9
}
