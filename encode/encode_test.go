package encode

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"excpfs/archive"
	"excpfs/codec"
	"excpfs/decode"
	"excpfs/tensor"
)

// TestExcp runs fixtures of every dtype in a closed loop and compares with the plain computation.
func TestExcp(t *testing.T) {
	for _, c := range []struct {
		d, dm tensor.DType
		alpha float64
	}{
		{tensor.F32, tensor.F32, 1e-3}, {tensor.F32, tensor.F32, 5e-5}, {tensor.BF16, tensor.F32, 1e-3},
		{tensor.F16, tensor.F16, 1e-3}, {tensor.BF16, tensor.BF16, 5e-5}, {tensor.F64, tensor.F64, 1e-3}, {tensor.F32, tensor.F64, 1e-3},
	} {
		t.Run(fmt.Sprintf("%v %v %g", c.d, c.dm, c.alpha), func(t *testing.T) {
			p := excpProfile
			p.Alpha = c.alpha
			m := newModel(t, c.d, c.dm, 1)
			s := shelf{}
			base := s.seal(t, input(m.base, p))
			if !bytes.Equal(base.data, m.base.data) {
				t.Fatal("weights without a base are not exact")
			}
			st := sealStep(t, s, m.weights, m.moments, &base, p)
			checkMasks(t, m.weights, m.moments, base.plain, st, p)
			checkVerbatim(t, m.weights, st.weights)
			checkVerbatim(t, m.moments, st.moments)
			checkErrors(t, m.weights, st.weights)
			checkErrors(t, m.moments, st.moments)
			reseal(t, s, st, &base, p)
		})
	}
}

// checkVerbatim compares what no profile may change: gaps and types that are not floats.
func checkVerbatim(t *testing.T, want plain, got sealed) {
	t.Helper()
	want.layout.Gaps(func(at, n int64) error {
		if !bytes.Equal(want.data[at:at+n], got.data[at:at+n]) {
			t.Errorf("verbatim bytes at %d differ", at)
		}
		return nil
	})
	for _, i := range want.layout.Tensors {
		if !i.DType.Lossy() && !bytes.Equal(want.bytes(i.Name), got.plain.bytes(i.Name)) {
			t.Errorf("%s differs", i.Name)
		}
	}
}

func checkErrors(t *testing.T, want plain, got sealed) {
	t.Helper()
	var sq, diff [3]float64
	for _, i := range want.layout.Tensors {
		role, _ := tensor.RoleOf(i.Name)
		if !i.DType.Lossy() {
			continue
		}
		a, b := want.values(i.Name), got.values(i.Name)
		var s, d, sum float64
		for j := range a {
			s += a[j] * a[j]
			d += (a[j] - b[j]) * (a[j] - b[j])
			sum += math.Abs(a[j])
		}
		e := got.tensor(i.Name)
		if rel := math.Sqrt(d / s); d > 0 && math.Abs(e.Error-rel) > 1e-5*rel || d == 0 && e.Error != 0 {
			t.Errorf("%s: error %g, recorded %g", i.Name, rel, e.Error)
		}
		if mean := sum / float64(len(a)); role != tensor.Weight && math.Abs(e.Mean-mean) > 1e-6*mean {
			t.Errorf("%s: mean %g, recorded %g", i.Name, mean, e.Mean)
		}
		sq[role] += s
		diff[role] += d
	}
	for role := range sq {
		rel, have := math.Sqrt(diff[role]/sq[role]), got.ix.Error[role]
		if math.IsNaN(rel) != math.IsNaN(have) || math.Abs(rel-have) > 1e-5*rel {
			t.Errorf("%v: error %g, recorded %g", tensor.Role(role), rel, have)
		}
	}
}

// odd is a tensor of each kind that must stay as it is.
func odd(t testing.TB, seed uint64) plain {
	r := rand.New(rand.NewPCG(seed, 2))
	b := newBuilder()
	raw := func(n int) []byte {
		p := make([]byte, n)
		for i := range p {
			p[i] = byte(r.Uint32())
		}
		return p
	}
	b.add("bool", tensor.Bool, []int64{3}, []byte{0, 1, 1})
	b.add("f4", tensor.F4, []int64{7, 3}, raw(11))
	b.add("f6", tensor.F6E2M3, []int64{5}, raw(4))
	b.add("f8", tensor.F8E4M3, []int64{100, 50}, raw(5000))
	b.add("c64", tensor.C64, []int64{9, 9}, raw(648))
	b.add("i16", tensor.I16, []int64{64, 80}, raw(10240))
	b.add("empty", tensor.F32, []int64{0, 5}, nil)
	b.add("exp_avg.empty", tensor.F32, []int64{0, 5}, nil)
	b.add("scalar", tensor.F32, nil, raw(4))
	x := noise(r, 6000, 1)
	x[1], x[2], x[3] = math.NaN(), math.Inf(1), math.Copysign(0, -1)
	for _, d := range []tensor.DType{tensor.F32, tensor.F64, tensor.BF16, tensor.F16} {
		b.floats(d.String(), d, []int64{60, 100}, x)
		b.floats("exp_avg."+d.String(), d, []int64{60, 100}, x)
	}
	b.add("exp_avg.i16", tensor.I16, []int64{64, 80}, raw(10240))
	nan := b.data[len(b.data)-1:]
	nan[0] ^= 1
	return b.file(t)
}

// TestExactThings asserts that both profiles keep the odd tensors, with and without a base.
func TestExactThings(t *testing.T) {
	for _, p := range []archive.Profile{excpProfile, exactProfile} {
		s := shelf{}
		base := s.seal(t, input(odd(t, 1), p))
		if !bytes.Equal(base.data, odd(t, 1).data) {
			t.Errorf("%s: not exact", p.Name)
		}
		in := input(odd(t, 2), p)
		in.Base = base.file
		if got := s.seal(t, in); !bytes.Equal(got.data, odd(t, 2).data) {
			t.Errorf("%s: not exact with base", p.Name)
		}
		in = input(odd(t, 1), p)
		in.Base = base.file
		w, _ := archive.NewWriter(new(bytes.Buffer))
		if _, err := Encode(context.Background(), in, w); !errors.Is(err, ErrOwnBase) {
			t.Errorf("a file against itself: %v", err)
		}
		in.Src = bytes.NewReader(append([]byte("A"), odd(t, 1).data[1:]...)) // another header
		same := s.seal(t, in)
		for _, a := range same.ix.Tensors {
			if want := a.Length > 0; (codec.Method(a.Method) == codec.Same) != want {
				t.Errorf("%s: method %d of an equal tensor", a.Name, a.Method)
			}
		}
	}
}

// TestExactProfile holds the real files and fixtures to the bit, also along a chain.
func TestExactProfile(t *testing.T) {
	m := newModel(t, tensor.BF16, tensor.F32, 3)
	files := [][]plain{{m.base, m.weights}, {m.moments, newModel(t, tensor.BF16, tensor.F32, 4).moments}}
	t.Run("fixtures", func(t *testing.T) { exactChains(t, files) })
	t.Run("real", func(t *testing.T) {
		exactChains(t, [][]plain{
			{chain(t, "dev/checkpoint-500/model.safetensors"), chain(t, "dev/checkpoint-600/model.safetensors")},
			{chain(t, "dev/checkpoint-500/optimizer.safetensors"), chain(t, "dev/checkpoint-600/optimizer.safetensors")},
			{chain(t, "bf16/checkpoint-500/model.safetensors"), chain(t, "bf16/checkpoint-600/model.safetensors")},
		})
	})
}

func exactChains(t *testing.T, files [][]plain) {
	for _, steps := range files {
		s := shelf{}
		var last *sealed
		for _, p := range steps {
			in := input(p, exactProfile)
			if last != nil {
				in.Base = last.file
			}
			got := s.seal(t, in)
			if !bytes.Equal(got.data, p.data) {
				t.Error("profile exact is not")
			}
			t.Logf("%d -> %d bytes", len(p.data), got.bytes)
			last = &got
		}
	}
}

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

// TestDeps asserts that what is not used is not recorded, and how depth is counted.
func TestDeps(t *testing.T) {
	m := newModel(t, tensor.F32, tensor.F32, 6)
	s := shelf{}
	base := s.seal(t, input(m.base, excpProfile))
	in := input(m.weights, excpProfile)
	in.Base, in.BaseHint = base.file, "run/base"
	w := s.seal(t, in)
	mom := input(m.moments, excpProfile)
	mom.Base, mom.Weights, mom.WeightsHint, mom.WeightsBaseHint = base.file, w.file, "run/w", "run/base"
	got := s.seal(t, mom)
	alone := s.seal(t, input(m.moments, excpProfile))
	mom.Weights = base.file // has no base, so nothing to mask with
	unmasked := s.seal(t, mom)
	for _, c := range []struct {
		name  string
		ix    *archive.Index
		depth uint8
		want  []archive.Dep
	}{
		{"base", base.ix, 0, nil},
		{"weights", w.ix, 1, []archive.Dep{{Role: archive.RoleBase, ID: base.ix.ID, Hint: "run/base"}}},
		{"moments", got.ix, 1, []archive.Dep{{Role: archive.RoleWeights, ID: w.ix.ID, Hint: "run/w"},
			{Role: archive.RoleWeightsBase, ID: base.ix.ID, Hint: "run/base"}}},
		{"moments alone", alone.ix, 0, nil},
		{"unmasked", unmasked.ix, 0, nil},
	} {
		if fmt.Sprint(c.ix.Deps) != fmt.Sprint(c.want) || c.ix.Depth != c.depth {
			t.Errorf("%s: depth %d, dependencies %v", c.name, c.ix.Depth, c.ix.Deps)
		}
	}
	if alone.ix.ID != unmasked.ix.ID {
		t.Error("a mask from weights without a base")
	}
}

// TestWorkers asserts that the archive does not depend on the number of workers.
func TestWorkers(t *testing.T) {
	m := newModel(t, tensor.F32, tensor.BF16, 7)
	p := join(t, m.moments, m.weights)
	s := shelf{}
	base := s.seal(t, input(m.base, excpProfile))
	for _, prof := range []archive.Profile{excpProfile, exactProfile} {
		var want []byte
		for _, n := range []int{1, 4, 2, 4} {
			in := input(p, prof)
			in.Base, in.Workers = base.file, n
			got, _ := encodeBytes(t, in)
			if want != nil && !bytes.Equal(got, want) {
				t.Errorf("%s: another archive with %d workers", prof.Name, n)
			}
			want = got
		}
	}
}

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
		{"few m", tensor.F32, some, many, [2]bool{true, false}},
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

// TestManyChunks has tensors of several chunks, of unlike dtypes, so that masks are cut anew.
func TestManyChunks(t *testing.T) {
	r := rand.New(rand.NewPCG(11, 1))
	n, shape := 700*1001, []int64{700, 1001}
	w := noise(r, n, 0.1)
	m := noise(r, n, 1e-4)
	base := newBuilder().floats("w", tensor.BF16, shape, w).file(t)
	next := newBuilder().floats("w", tensor.BF16, shape, plus(w, noise(r, n, 0.004))).file(t)
	mom := newBuilder().floats("exp_avg.w", tensor.F32, shape, m).floats("exp_avg_sq.w", tensor.F32, shape, plus(m, m)).file(t)
	s := shelf{}
	b := s.seal(t, input(base, excpProfile))
	st := sealStep(t, s, next, mom, &b, excpProfile)
	checkMasks(t, next, mom, b.plain, st, excpProfile)
	if len(st.moments.tensor("exp_avg.w").Supports) < 3 || len(st.weights.tensor("w").Chunks) < 2 {
		t.Error("too few chunks for this test")
	}

	// The same without room to keep masks.
	in := input(join(t, mom, next), excpProfile)
	in.Base = b.file
	kept, _ := encodeBytes(t, in)
	e, err := newEncoder(in)
	if err != nil {
		t.Fatal(err)
	}
	e.masks.take(maskBudget)
	var buf bytes.Buffer
	aw, _ := archive.NewWriter(&buf)
	ix, err := e.run(context.Background(), aw)
	if err != nil {
		t.Fatal(err)
	}
	if err := aw.Finish(ix, archive.Trailer{}); err != nil || !bytes.Equal(buf.Bytes(), kept) {
		t.Errorf("another archive without kept masks: %v", err)
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
	}
	prof, shape, s := excpProfile, []int64{60, 100}, shelf{}
	prof.Bits, prof.Beta = 1, 0
	p := newBuilder().floats("w", tensor.F32, shape, y).floats("exp_avg.v", tensor.F32, shape, x).file(t)
	for i := range y {
		y[i] = float64(1 + i/2)
	}
	base := s.seal(t, input(newBuilder().floats("w", tensor.F32, shape, y).file(t), prof))
	in := input(p, prof)
	in.Base = base.file
	got := s.seal(t, in)
	if !bytes.Equal(got.plain.bytes("w"), base.plain.bytes("w")) || slices.Max(got.values("exp_avg.v")) != 0 {
		t.Error("the only centre is not zero")
	}
}

func TestFaults(t *testing.T) {
	p := newModel(t, tensor.F32, tensor.F32, 12).weights
	encode := func(ctx context.Context, in Input) error {
		w, err := archive.NewWriter(new(bytes.Buffer))
		if err != nil {
			t.Fatal(err)
		}
		_, err = Encode(ctx, in, w)
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := encode(ctx, input(p, excpProfile)); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	short := input(p, excpProfile)
	short.Src = bytes.NewReader(p.data[:len(p.data)/2])
	if err := encode(context.Background(), short); err == nil {
		t.Error("no error for a file that ends early")
	}
	for _, prof := range []archive.Profile{{}, {Name: "excp"}, {Name: "excp", Bits: 9}} {
		if err := encode(context.Background(), input(p, prof)); err == nil {
			t.Errorf("no error for profile %+v", prof)
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
