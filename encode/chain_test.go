package encode

import (
	"bytes"
	"context"
	"fmt"
	"testing"

	"excpfs/archive"
)

// step is one sealed checkpoint of a chain.
type step struct{ weights, moments sealed }

// sealStep seals weights, then moments masked by them, as the store does.
func sealStep(t testing.TB, s shelf, w, m plain, base *sealed, p archive.Profile) step {
	t.Helper()
	in := input(w, p)
	if base != nil {
		in.Base = base.file
	}
	means, err := MeanSquares(context.Background(), bytes.NewReader(m.data), m.layout)
	if err != nil {
		t.Fatal(err)
	}
	in.MeanSq = func(name string) (float64, bool) { v, ok := means[name]; return v, ok }
	var out step
	out.weights = s.seal(t, in)
	in = input(m, p)
	in.Weights = []Sibling{{File: out.weights.file}}
	out.moments = s.seal(t, in)
	return out
}

// TestChain runs the real chain in a closed loop and holds the sizes.
func TestChain(t *testing.T) {
	limits := map[float64]int{1e-3: 360_000, 5e-5: 778_000}
	for _, alpha := range []float64{1e-3, 5e-5} {
		p := excpProfile
		p.Alpha = alpha
		s := shelf{}
		var last *sealed
		for n := 500; n <= 800; n += 100 {
			w := chain(t, fmt.Sprintf("dev/checkpoint-%d/model.safetensors", n))
			m := chain(t, fmt.Sprintf("dev/checkpoint-%d/optimizer.safetensors", n))
			st := sealStep(t, s, w, m, last, p)
			all := st.weights.bytes + st.moments.bytes
			t.Logf("alpha %g step %d: %d + %d = %d bytes, %.1fx, depth %d %d, errors %.4f %.4f", alpha, n, st.weights.bytes, st.moments.bytes, all,
				float64(len(w.data)+len(m.data))/float64(all), st.weights.ix.Depth, st.moments.ix.Depth, st.weights.ix.Error, st.moments.ix.Error)
			if n == 600 && all > limits[alpha] {
				t.Errorf("alpha %g: %d bytes, want at most %d", alpha, all, limits[alpha])
			}
			if n == 600 || n == 800 {
				checkMasks(t, w, m, last.plain, st, p)
			}
			if n == 700 {
				reseal(t, s, st, last, p)
			}
			last = &st.weights
		}
	}
}

// reseal seals what was decoded again: nothing may be lost any more.
func reseal(t *testing.T, s shelf, st step, base *sealed, p archive.Profile) {
	t.Helper()
	again := sealStep(t, s, st.weights.plain, st.moments.plain, base, p)
	if !bytes.Equal(again.weights.data, st.weights.data) || again.weights.ix.ID != st.weights.ix.ID {
		t.Error("weights change when a decoded file is sealed again")
	}
	if !bytes.Equal(again.moments.data, st.moments.data) {
		t.Error("moments change when a decoded file is sealed again")
	}
	if n, limit := again.weights.bytes+again.moments.bytes, (st.weights.bytes+st.moments.bytes)*103/100; n > limit {
		t.Errorf("sealed again: %d bytes, want at most %d", n, limit)
	}
}
