package encode

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"excpfs/archive"
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
		if !i.DType.Lossy() || role == tensor.Weight && tensor.OptimizerState(i.Name) {
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

// TestDeps asserts that what is not used is not recorded, and how depth is counted.
func TestDeps(t *testing.T) {
	m := newModel(t, tensor.F32, tensor.F32, 6)
	s := shelf{}
	base := s.seal(t, input(m.base, excpProfile))
	in := input(m.weights, excpProfile)
	in.Base, in.BaseHint = base.file, "run/base"
	w := s.seal(t, in)
	mom := input(m.moments, excpProfile)
	mom.Base, mom.Weights = base.file, []Sibling{{w.file, "run/w", "run/base"}}
	got := s.seal(t, mom)
	alone := s.seal(t, input(m.moments, excpProfile))
	mom.Weights = []Sibling{{File: base.file}} // has no base, so nothing to mask with
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

// TestManyChunks has tensors of several chunks, of unlike dtypes, so that masks are cut anew.
func TestManyChunks(t *testing.T) {
	r := rand.New(rand.NewPCG(11, 1))
	n, shape := 700*1001, []int64{700, 1001}
	w := noise(r, n, 0.1)
	m := noise(r, n, 1e-4)
	base := newBuilder().floats("w", tensor.BF16, shape, w).file(t)
	next := newBuilder().floats("w", tensor.BF16, shape, plus(w, noise(r, n, 0.004))).file(t)
	mom := newBuilder().floats("exp_avg.w", tensor.F32, shape, m).floats("exp_avg_sq.w", tensor.F32, shape, squares(m)).file(t)
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
