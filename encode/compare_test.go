package encode

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"excpfs/archive"
	"excpfs/decode"
	"excpfs/tensor"
)

// TestFarBase asserts that weights too far from their base, or unlike it, are exact.
func TestFarBase(t *testing.T) {
	r := rand.New(rand.NewPCG(8, 8))
	shape := []int64{80, 100}
	w := noise(r, 8000, 1)
	file := func(x []float64, d tensor.DType, shape []int64) plain {
		return newBuilder().floats("w", d, shape, x).file(t)
	}
	near := plus(w, noise(r, 8000, 0.2))
	for _, c := range []struct {
		name  string
		base  plain
		exact bool
	}{
		{"near", file(near, tensor.F32, shape), false},
		{"far", file(noise(r, 8000, 1), tensor.F32, shape), true},
		{"other dtype", file(near, tensor.BF16, shape), true},
		{"other shape", file(near, tensor.F32, []int64{100, 80}), true},
		{"infinite", file(append([]float64{math.Inf(1)}, near[1:]...), tensor.F32, shape), true},
	} {
		s := shelf{}
		base := s.seal(t, input(c.base, excpProfile))
		in := input(file(w, tensor.F32, shape), excpProfile)
		in.Base = base.file
		got := s.seal(t, in)
		if exact := got.tensor("w").Error == 0; exact != c.exact || exact != bytes.Equal(got.data, file(w, tensor.F32, shape).data) {
			t.Errorf("%s: exact is %v", c.name, exact)
		}
	}
}

func TestCompare(t *testing.T) {
	m := newModel(t, tensor.F32, tensor.F32, 13)
	s := shelf{}
	base := s.seal(t, input(m.base, excpProfile))
	other := s.seal(t, input(newModel(t, tensor.F32, tensor.F32, 14).base, excpProfile))
	in := input(m.weights, excpProfile)
	in.Base = base.file
	next := s.seal(t, in)
	compare := func(p plain, cand *sealed) Fit {
		var f *decode.File
		if cand != nil {
			f = cand.file
		}
		fit, err := Compare(context.Background(), bytes.NewReader(p.data), p.layout, f, excpProfile)
		if err != nil {
			t.Fatal(err)
		}
		exact, err := Compare(context.Background(), bytes.NewReader(p.data), p.layout, f, archive.Profile{Name: ProfileExact})
		if err != nil {
			t.Fatal(err)
		}
		fit.ExactBits = exact.ExactBits
		return fit
	}
	near, far, none := compare(m.weights, &base), compare(m.weights, &other), compare(m.weights, nil)
	if !(near.RMS > 0.03 && near.RMS < 0.07) || !(far.RMS > 1) || !math.IsNaN(none.RMS) {
		t.Errorf("RMS %g %g %g", near.RMS, far.RMS, none.RMS)
	}
	if !(near.ExactBits < none.ExactBits && none.ExactBits <= 8.2 && far.ExactBits <= none.ExactBits) {
		t.Errorf("bits %g %g %g", near.ExactBits, far.ExactBits, none.ExactBits)
	}
	if near.Quantized || none.Quantized {
		t.Error("raw weights taken for decoded ones")
	}
	if f := compare(next.plain, &base); !f.Quantized {
		t.Error("decoded weights not known again")
	}
	if f := compare(m.base, &base); !f.Quantized || f.RMS != 0 || f.ExactBits > 0.2 {
		t.Errorf("the same file: %+v", f)
	}
	if f := compare(m.moments, &base); !math.IsNaN(f.RMS) {
		t.Errorf("moments: %+v", f)
	}
}

func TestMeanSquares(t *testing.T) {
	p := newBuilder().floats("exp_avg_sq.a", tensor.F32, []int64{2}, []float64{1, 2}).
		floats("state.b.exp_avg_sq", tensor.BF16, []int64{2, 2}, []float64{0, 0, 0, 8}).
		floats("exp_avg.a", tensor.F32, []int64{1}, []float64{5}).
		add("exp_avg_sq.c", tensor.I64, nil, binary.LittleEndian.AppendUint64(nil, 3)).file(t)
	got, err := MeanSquares(context.Background(), bytes.NewReader(p.data), p.layout)
	if err != nil || fmt.Sprint(got) != "map[a:1.5 b:2]" {
		t.Errorf("%v, %v", got, err)
	}
}
