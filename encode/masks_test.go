package encode

import (
	"bytes"
	"math"
	"slices"
	"testing"

	"excpfs/archive"
	"excpfs/codec"
	"excpfs/tensor"
)

// checkMasks computes the profile the plain way, element by element, and compares.
func checkMasks(t *testing.T, w, m, base plain, st step, p archive.Profile) {
	t.Helper()
	for _, info := range w.layout.Tensors {
		checkWeight(t, info, w, m, base, st.weights, p)
	}
	for _, info := range m.layout.Tensors {
		checkMoment(t, info, m, base, st, p)
	}
}

func checkWeight(t *testing.T, info tensor.Info, w, m, base plain, got sealed, p archive.Profile) {
	t.Helper()
	name := info.Name
	if !info.DType.Lossy() || len(info.Shape) < 2 || info.Elems() < 4096 {
		if !bytes.Equal(w.bytes(name), got.plain.bytes(name)) {
			t.Errorf("%s is not exact", name)
		}
		return
	}
	x, b, dec := w.values(name), base.values(name), got.values(name)
	d := make([]float64, len(x))
	sizes := make([]float64, len(x))
	for i := range x {
		if d[i] = float64(float32(x[i] - b[i])); info.DType == tensor.BF16 || info.DType == tensor.F16 {
			d[i] = float64(float32(x[i]) - float32(b[i]))
		}
		sizes[i] = math.Abs(d[i])
	}
	slices.Sort(sizes)
	v, sum := m.values("exp_avg_sq."+name), 0.0
	for _, e := range v {
		sum += e
	}
	limit := min(2.5, p.Alpha/math.Sqrt(sum/float64(len(v)))) * sizes[(len(sizes)-1)/2]
	var kept, err []float64
	lost := 0
	for i := range d {
		switch {
		case math.Abs(d[i]) > limit:
			kept = append(kept, d[i])
			err = append(err, x[i]-dec[i])
			if info.DType == tensor.F32 && dec[i] == b[i] {
				lost++
			}
		case dec[i] != b[i]:
			t.Fatalf("%s[%d]: %g is at most %g, but coded", name, i, d[i], limit)
		}
	}
	if lost > len(kept)/1000 {
		t.Errorf("%s: %d of %d survivors not coded", name, lost, len(kept))
	}
	checkFit(t, name, kept, err, 1<<p.Bits-1, info.DType)
}

func checkMoment(t *testing.T, info tensor.Info, m, base plain, st step, p archive.Profile) {
	t.Helper()
	role, weight := tensor.RoleOf(info.Name)
	if role == tensor.Weight {
		if !bytes.Equal(m.bytes(info.Name), st.moments.plain.bytes(info.Name)) {
			t.Errorf("%s is not exact", info.Name)
		}
		return
	}
	first, x, dec := m.values("exp_avg."+weight), m.values(info.Name), st.moments.values(info.Name)
	w := st.weights.tensor(weight)
	masked := codec.Method(w.Method) == codec.Delta || codec.Method(w.Method) == codec.Residual
	after, before, k := st.weights.plain.bytes(weight), base.bytes(weight), w.DType.Width()
	mean := 0.0
	for _, v := range first {
		mean += math.Abs(v)
	}
	mean /= float64(len(first))
	var kept, err []float64
	for i := range x {
		in := math.Abs(first[i]) > p.Beta*mean
		in = in && (!masked || !bytes.Equal(after[i*k:i*k+k], before[i*k:i*k+k]))
		switch {
		case !in && dec[i] != 0 && st.moments.tensor(info.Name).Error != 0:
			t.Fatalf("%s[%d] is coded", info.Name, i)
		case in:
			if (dec[i] == 0) != (x[i] == 0) {
				t.Fatalf("%s[%d]: %g became %g", info.Name, i, x[i], dec[i])
			}
			kept = append(kept, x[i])
			err = append(err, x[i]-dec[i])
		}
	}
	checkFit(t, info.Name, kept, err, 1<<p.Bits-1, info.DType)
}

// checkFit compares the squared error with that of plain k-means (Lloyd's, from quantiles).
func checkFit(t *testing.T, name string, x, err []float64, k int, d tensor.DType) {
	t.Helper()
	if len(x) <= k {
		return
	}
	got := 0.0
	for _, e := range err {
		got += e * e
	}
	want := lloyd(x, k)
	if d == tensor.BF16 || d == tensor.F16 {
		want *= 3 // rounding to the dtype comes on top
		for _, v := range x {
			want += v * v / (1 << 10)
		}
	}
	if got > want*1.02+1e-30 {
		t.Errorf("%s: squared error %g of %d survivors, k-means reaches %g", name, got, len(x), want)
	}
}

// lloyd works on sorted values and their running sums.
func lloyd(x []float64, k int) float64 {
	x = slices.Clone(x)
	slices.Sort(x)
	n := len(x)
	sum, sq := make([]float64, n+1), make([]float64, n+1)
	for i, v := range x {
		sum[i+1], sq[i+1] = sum[i]+v, sq[i]+v*v
	}
	c := make([]float64, k)
	for i := range c {
		c[i] = x[(2*i+1)*n/(2*k)]
	}
	total := 0.0
	for range 30 {
		total = 0
		for j, from := 0, 0; j < k; j++ {
			to := n
			if j+1 < k {
				to, _ = slices.BinarySearch(x, (c[j]+c[j+1])/2)
				to = max(to, from)
			}
			m, s := float64(to-from), sum[to]-sum[from]
			total += sq[to] - sq[from] - 2*c[j]*s + m*c[j]*c[j]
			if m > 0 {
				c[j] = s / m
			}
			from = to
		}
	}
	return total
}
