package encode

import (
	"bytes"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"excpfs/tensor"
)

// TestCombined has weights and moments in one file, in both orders.
func TestCombined(t *testing.T) {
	m := newModel(t, tensor.F32, tensor.F32, 5)
	for name, p := range map[string]plain{"weights first": join(t, m.weights, m.moments), "moments first": join(t, m.moments, m.weights)} {
		t.Run(name, func(t *testing.T) {
			s := shelf{}
			base := s.seal(t, input(m.base, excpProfile))
			in := input(p, excpProfile)
			in.Base = base.file
			got := s.seal(t, in)
			checkMasks(t, m.weights, m.moments, base.plain, step{got, got}, excpProfile)
			checkErrors(t, p, got)
			if a := got.tensor("exp_avg.embed"); a.Mask != "embed" || a.Weights != -1 || a.Support != -1 {
				t.Errorf("exp_avg is masked by %q of dependency %d", a.Mask, a.Weights)
			}
			if a := got.tensor("exp_avg_sq.embed"); a.Support < 0 || got.ix.Tensors[a.Support].Name != "exp_avg.embed" || len(a.Supports) > 0 {
				t.Errorf("exp_avg_sq shares the support of %d", a.Support)
			}
			in.Src = bytes.NewReader(got.data)
			if again := s.seal(t, in); !bytes.Equal(again.data, got.data) {
				t.Error("changes when sealed again")
			}
		})
	}
}

// TestFewValues covers moments with few distinct values.
func TestFewValues(t *testing.T) {
	n, shape := 6000, []int64{60, 100}
	fill := func(f func(i int) float64) []float64 {
		x := make([]float64, n)
		for i := range x {
			x[i] = f(i)
		}
		return x
	}
	zero := fill(func(int) float64 { return 0 })
	some := fill(func(i int) float64 { return float64(i * i % 7 / 5) })
	minus := fill(func(i int) float64 { return math.Copysign(float64(i%2), -1) })
	wide := fill(func(i int) float64 { return 1 + 1e-12*float64(i%3) })
	many := noise(rand.New(rand.NewPCG(9, 9)), n, 1)
	for _, c := range []struct {
		name  string
		d     tensor.DType
		m, v  []float64
		exact [2]bool
	}{
		{"zeros", tensor.F32, zero, zero, [2]bool{true, true}},
		{"zero m", tensor.F32, zero, some, [2]bool{true, true}},
		{"zero v", tensor.BF16, some, zero, [2]bool{true, true}},
		{"minus zero", tensor.F32, minus, some, [2]bool{true, true}},
		{"wide", tensor.F64, wide, some, [2]bool{true, true}},
		{"few m", tensor.F32, some, many, [2]bool{true, true}},
		{"few v", tensor.F32, many, some, [2]bool{false, true}},
		{"v of zeros", tensor.F32, many, zero, [2]bool{false, true}},
	} {
		p := newBuilder().floats("exp_avg.w", c.d, shape, c.m).floats("state.w.exp_avg_sq", c.d, shape, c.v).file(t)
		s := shelf{}
		got := s.seal(t, input(p, excpProfile))
		for i, name := range []string{"exp_avg.w", "state.w.exp_avg_sq"} {
			if same := bytes.Equal(got.plain.bytes(name), p.bytes(name)); same != c.exact[i] {
				t.Errorf("%s: %s exact is %v", c.name, name, same)
			}
		}
		if again := s.seal(t, input(got.plain, excpProfile)); !bytes.Equal(again.data, got.data) {
			t.Errorf("%s: changes when sealed again", c.name)
		}
	}
}

func squares(x []float64) []float64 {
	sq := make([]float64, len(x))
	for i, v := range x {
		sq[i] = v * v
	}
	return sq
}

// TestWrongNames: what is named a second moment and has negative elements is none, so neither is its first.
func TestWrongNames(t *testing.T) {
	r := rand.New(rand.NewPCG(12, 1))
	shape := []int64{60, 100}
	p := newBuilder().floats("exp_avg.w", tensor.F32, shape, noise(r, 6000, 1)).floats("exp_avg_sq.w", tensor.F32, shape, noise(r, 6000, 1)).file(t)
	s := shelf{}
	if got := s.seal(t, input(p, excpProfile)); !bytes.Equal(got.plain.data, p.data) {
		t.Error("lossy")
	}
}

// TestAloneSecondMoment: what optimizers divide by becomes zero only together with what they divide.
func TestAloneSecondMoment(t *testing.T) {
	r := rand.New(rand.NewPCG(11, 1))
	shape := []int64{60, 100}
	square := squares(noise(r, 6000, 1))
	for _, c := range []struct {
		name string
		b    *builder
		v    string
	}{
		{"no first", newBuilder().floats("state.0.z", tensor.F32, shape, noise(r, 6000, 1)), "state.0.exp_avg_sq"},
		{"first of another type", newBuilder().floats("state.0.exp_avg", tensor.BF16, shape, noise(r, 6000, 1)), "state.0.exp_avg_sq"},
		{"second of a key", newBuilder().floats("optim.state.0.exp_avg", tensor.F32, shape, noise(r, 6000, 1)).
			floats("optim.state.0.exp_avg_sq", tensor.F32, shape, square).
			floats("optimizer.state.0.exp_avg", tensor.F32, shape, noise(r, 6000, 1)), "optimizer.state.0.exp_avg_sq"},
	} {
		p := c.b.floats(c.v, tensor.F32, shape, square).file(t)
		s := shelf{}
		if got := s.seal(t, input(p, excpProfile)); !bytes.Equal(got.plain.bytes(c.v), p.bytes(c.v)) {
			t.Errorf("%s: %s is lossy", c.name, c.v)
		}
	}
}

// TestOutsideMask seals moments whose support is not inside what changed.
func TestOutsideMask(t *testing.T) {
	r := rand.New(rand.NewPCG(10, 1))
	shape := []int64{60, 100}
	w := noise(r, 6000, 1)
	next := append([]float64{}, w...)
	for i := 0; i < 3000; i++ {
		next[i] += 0.01 * float64(1+i%3)
	}
	few := make([]float64, 6000)
	for i := range few {
		few[i] = float64(i % 3)
	}
	s := shelf{}
	base := s.seal(t, input(newBuilder().floats("w", tensor.F32, shape, w).file(t), excpProfile))
	p := newBuilder().floats("w", tensor.F32, shape, next).floats("exp_avg.w", tensor.F32, shape, few).
		floats("exp_avg_sq.w", tensor.F32, []int64{100, 60}, noise(r, 6000, 1)).file(t)
	in := input(p, excpProfile)
	in.Base = base.file
	got := s.seal(t, in)
	if a := got.tensor("exp_avg.w"); a.Mask != "" || !bytes.Equal(got.plain.bytes("exp_avg.w"), p.bytes("exp_avg.w")) {
		t.Errorf("mask %q", a.Mask)
	}
	if a := got.tensor("exp_avg_sq.w"); a.Mask != "" || a.Support >= 0 {
		t.Errorf("exp_avg_sq of another shape: mask %q, support %d", a.Mask, a.Support)
	}
}

// TestOneBit has one centre a tensor, which comes out as zero.
func TestOneBit(t *testing.T) {
	x := make([]float64, 6000)
	y := make([]float64, 6000)
	for i := range x {
		x[i] = float64(1 + i/2)
		y[i] = x[i] + x[i]/64*float64(1-i%2*2)
	}
	for i := range x {
		if i%2 == 1 {
			x[i] = -x[i]
		}
		if i%4 > 1 {
			y[i] = -y[i]
		}
	}
	prof, shape, s := excpProfile, []int64{60, 100}, shelf{}
	prof.Bits, prof.Beta = 1, 0
	p := newBuilder().floats("w", tensor.F32, shape, y).floats("exp_avg.v", tensor.F32, shape, x).file(t)
	for i := range y {
		y[i] = math.Copysign(float64(1+i/2), y[i])
	}
	base := s.seal(t, input(newBuilder().floats("w", tensor.F32, shape, y).file(t), prof))
	in := input(p, prof)
	in.Base = base.file
	got := s.seal(t, in)
	if !bytes.Equal(got.plain.bytes("w"), base.plain.bytes("w")) || slices.Max(got.values("exp_avg.v")) != 0 {
		t.Error("the only centre is not zero")
	}
}

// TestNotFrozen has changes so equal in size that none is above the rule's limit: a tensor that is kept
// at its base would stay there in every later step too.
func TestNotFrozen(t *testing.T) {
	for name, size := range map[string]func(i int) float64{
		"about equal": func(i int) float64 { return 1e-3 * (1 + float64(i%7)/7) },
		"equal":       func(int) float64 { return 1.0 / 1024 },
	} {
		shape := []int64{64, 64}
		x, y := make([]float64, 4096), make([]float64, 4096)
		for i := range x {
			x[i] = float64(i%101-50) / 512
			y[i] = x[i] + size(i)*float64(1-i%2*2)
		}
		s := shelf{}
		base := s.seal(t, input(newBuilder().floats("w", tensor.F32, shape, x).file(t), excpProfile))
		in := input(newBuilder().floats("w", tensor.F32, shape, y).file(t), excpProfile)
		in.Base = base.file
		in.MeanSq = func(string) (float64, bool) { return 0, true }
		got := s.seal(t, in)
		moved := 0
		for i, v := range got.values("w") {
			if v != x[i] {
				moved++
			}
		}
		if moved < 1500 {
			t.Errorf("%s: %d of 4096 weights moved", name, moved)
		}
	}
}
