package codec

import (
	"encoding/binary"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"excpfs/tensor"
)

func TestMedian(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	for _, n := range []int{0, 1, 2, 3, 10, 1001, 20000} {
		x := make([]float32, n)
		for i := range x {
			switch x[i] = float32(r.NormFloat64() * math.Pow(10, float64(r.IntN(6)-3))); r.IntN(5) {
			case 0:
				x[i] = 0
			case 1:
				x[i] = 0.5
			}
		}
		var m Median
		count := func() {
			for i := 0; i < n; i += 777 {
				m.Count(x[i:min(n, i+777)])
			}
		}
		count()
		m.Narrow()
		count()
		want := float32(0)
		if n > 0 {
			abs := make([]float32, n)
			for i, f := range x {
				abs[i] = float32(math.Abs(float64(f)))
			}
			slices.Sort(abs)
			want = abs[(n-1)/2]
		}
		if got := m.Value(); got != want {
			t.Errorf("median of %d: %v, want %v", n, got, want)
		}
	}
}

func TestWeightThreshold(t *testing.T) {
	for _, c := range []struct {
		alpha, meanSq float64
		median        float32
		want          float64
	}{{5e-5, 1e-6, 2, 0.1}, {5e-5, 1e-12, 2, 5}, {5e-5, 0, 2, 5}, {5e-5, -1, 2, 2}, {5e-5, math.NaN(), 2, 5}, {1, 1, 0, 0}, {1, math.Inf(1), 1, 0}} {
		if got := WeightThreshold(c.alpha, c.meanSq, c.median); math.Abs(got-c.want) > 1e-9 {
			t.Errorf("threshold(%v, %v, %v) = %v, want %v", c.alpha, c.meanSq, c.median, got, c.want)
		}
	}
}

// full is a bitmap of n set bits.
func full(n int) Bitmap {
	b := NewBitmap(n)
	for i := range n {
		b.Set(i)
	}
	return b
}

func fit(x []float32, k int) []float32 {
	var h Histogram
	for i := 0; i < len(x); i += 1000 {
		part := x[i:min(len(x), i+1000)]
		h.Add(part, full(len(part)))
	}
	return FitCodebook(&h, k)
}

// squaredError assigns and adds up.
func squaredError(x, centres []float32) (e float64) {
	pos := make([]uint32, len(x))
	for i := range pos {
		pos[i] = uint32(i)
	}
	for i, s := range Assign(nil, x, pos, centres) {
		d := float64(x[i]) - float64(centres[s])
		e += d * d
	}
	return e
}

// bestError is the least squared error of k clusters: the dynamic programme on the
// sorted values themselves, every cut tried.
func bestError(x []float32, k int) float64 {
	x = slices.Clone(x)
	slices.Sort(x)
	n := len(x)
	sum, sq := make([]float64, n+1), make([]float64, n+1)
	for i, v := range x {
		sum[i+1] = sum[i] + float64(v)
		sq[i+1] = sq[i] + float64(v)*float64(v)
	}
	cost := make([]float64, n+1)
	for i := 1; i <= n; i++ {
		cost[i] = math.Inf(1)
	}
	for range k {
		next := make([]float64, n+1)
		for i := 1; i <= n; i++ {
			next[i] = math.Inf(1)
			for c := range i {
				s := sum[i] - sum[c]
				next[i] = min(next[i], cost[c]+sq[i]-sq[c]-s*s/float64(i-c))
			}
		}
		cost = next
	}
	return cost[n]
}

// laws are distributions of residuals and moments.
var laws = map[string]func(r *rand.Rand) float64{
	"normal":    func(r *rand.Rand) float64 { return 1e-3 * r.NormFloat64() },
	"pruned":    func(r *rand.Rand) float64 { return math.Copysign(1e-3+1e-3*r.ExpFloat64(), r.NormFloat64()) },
	"moment":    func(r *rand.Rand) float64 { return 1e-9 * math.Exp(2*r.NormFloat64()) },
	"narrow":    func(r *rand.Rand) float64 { return 1 + 0.001*r.Float64() },
	"far":       func(r *rand.Rand) float64 { return r.NormFloat64() + 1e4*float64(r.IntN(2)) },
	"one-sided": func(r *rand.Rand) float64 { return -r.ExpFloat64() },
}

func TestFitCodebook(t *testing.T) {
	for name, law := range laws {
		for _, k := range []int{1, 3, 15, 63} {
			r := rand.New(rand.NewPCG(5, 6))
			x := make([]float32, 700) // few: clustered as they are
			for i := range x {
				x[i] = float32(law(r))
			}
			c := fit(x, k)
			if len(c) > k || !slices.IsSorted(c) || len(slices.Compact(slices.Clone(c))) != len(c) {
				t.Fatalf("%s: %d centres, sorted %v", name, len(c), slices.IsSorted(c))
			}
			if e, best := squaredError(x, c), bestError(x, k); e > 1.01*best {
				t.Errorf("%s, k %d: squared error %g is %.4f of the best", name, k, e, e/best)
			}
		}
	}
}

// lloyd improves centres on the raw values until nothing moves.
func lloyd(x, c []float32) []float32 {
	pos := make([]uint32, len(x))
	for i := range pos {
		pos[i] = uint32(i)
	}
	c = slices.Clone(c)
	for range 60 {
		sum, n := make([]float64, len(c)), make([]float64, len(c))
		for i, s := range Assign(nil, x, pos, c) {
			sum[s] += float64(x[i])
			n[s]++
		}
		for i := range c {
			if n[i] > 0 {
				c[i] = float32(sum[i] / n[i])
			}
		}
	}
	return c
}

// With more values than are kept one by one the histogram decides; a descent from its
// answer on the raw values finds the nearest real optimum.
func TestFitCodebookLarge(t *testing.T) {
	for name, law := range laws {
		if name == "narrow" || name == "far" {
			continue // much narrower than a bin where they are
		}
		for _, k := range []int{15, 255} {
			r := rand.New(rand.NewPCG(7, 8))
			x := make([]float32, 30000)
			for i := range x {
				x[i] = float32(law(r))
			}
			c := fit(x, k)
			if e, best := squaredError(x, c), squaredError(x, lloyd(x, c)); e > 1.01*best {
				t.Errorf("%s, k %d: squared error is %.4f of a local optimum", name, k, e/best)
			}
		}
	}
}

func TestFitCodebookExact(t *testing.T) {
	x := []float32{3, -1, 3, 0.1, -1, 1e-30, -7}
	if c := fit(x, 15); !slices.Equal(c, []float32{-7, -1, 1e-30, 0.1, 3}) {
		t.Errorf("distinct values became %v", c)
	}
	if c := fit(append(x, 0), 15); !slices.Equal(c, []float32{-7, -1, 0, 1e-30, 0.1, 3}) {
		t.Errorf("with zero: %v", c)
	}
	if c := fit(nil, 15); len(c) != 0 {
		t.Errorf("of nothing: %v", c)
	}
	for _, odd := range []float32{float32(math.NaN()), float32(math.Inf(1))} {
		fit(slices.Repeat([]float32{odd, 1, 2, 3, 4}, 9), 2) // must not panic
	}
}

func TestAssign(t *testing.T) {
	r := rand.New(rand.NewPCG(9, 9))
	for _, k := range []int{1, 2, 3, 4, 5, 15, 16, 255, 256} {
		c := make([]float32, k)
		for i := range c {
			c[i] = float32(i) + 1 + float32(r.IntN(3))/4
		}
		x := []float32{0, 1, 1.5, 2, float32(k) + 5, float32(math.Inf(1)), float32(math.Inf(-1))}
		for range 3000 {
			x = append(x, float32(r.IntN(8*k+8))/8)
		}
		pos := make([]uint32, len(x))
		for i := range pos {
			pos[i] = uint32(len(x) - 1 - i)
		}
		for i, s := range Assign(nil, x, pos, c) {
			v, best := x[pos[i]], 0
			for j := range c {
				if math.Abs(float64(v)-float64(c[j])) < math.Abs(float64(v)-float64(c[best])) {
					best = j
				}
			}
			if math.IsInf(float64(v), 1) {
				best = k - 1
			}
			if int(s) != best {
				t.Fatalf("%d centres: %v went to %d (%v), want %d (%v)", k, v, s, c[s], best, c[best])
			}
		}
	}
}

// toBytes writes floats as d.
func toBytes(x []float32, d tensor.DType) (b []byte) {
	for _, f := range x {
		switch d {
		case tensor.F32:
			b = binary.LittleEndian.AppendUint32(b, math.Float32bits(f))
		case tensor.BF16:
			b = binary.LittleEndian.AppendUint16(b, toBF16(f))
		case tensor.F16:
			b = binary.LittleEndian.AppendUint16(b, toF16(f))
		case tensor.F64:
			b = binary.LittleEndian.AppendUint64(b, math.Float64bits(float64(f)))
		}
	}
	return b
}

var lossy = []tensor.DType{tensor.F32, tensor.BF16, tensor.F16, tensor.F64}

// TestRepresentable makes decoded tensors and looks whether they are known again.
func TestRepresentable(t *testing.T) {
	for _, d := range lossy {
		for _, n := range []int{10, 3000, 400000} {
			r := rand.New(rand.NewPCG(uint64(n), uint64(d)))
			x := make([]float32, n)
			for i := range x {
				x[i] = float32(0.05 * r.NormFloat64())
			}
			centres := []float32{-0.003, -0.0021, -0.0013, -0.001, 0.001, 0.0015, 0.0022, 0.004}
			base := toBytes(x, d)
			w := slices.Clone(base)
			var pos []uint32
			var sym []uint8
			for i := range n {
				if r.IntN(6) == 0 {
					pos, sym = append(pos, uint32(i)), append(sym, uint8(r.IntN(len(centres))))
				}
			}
			if err := ApplyResidual(w, d, pos, sym, centres); err != nil {
				t.Fatal(err)
			}
			checkRepresentable(t, d, w, base)
			noise := toBytes(x[:n/2], d)
			for i := range noise {
				noise[i] ^= byte(r.Uint32()) & 1
			}
			copy(w, noise)
			rep := NewRepresentable(15, d)
			rep.Add(w, base)
			if c, ok := rep.Centres(); ok && n > 10 && d != tensor.BF16 && d != tensor.F16 {
				t.Errorf("%v x %d: noise is represented by %v", d, n, c)
			}
		}
	}
}

func checkRepresentable(t *testing.T, d tensor.DType, w, base []byte) {
	t.Helper()
	rep := NewRepresentable(15, d)
	step := 1000 * d.Width()
	for at := 0; at < len(w); at += step {
		end := min(len(w), at+step)
		if !rep.Add(w[at:end], base[at:end]) {
			t.Fatalf("%v: gave up at %d of %d", d, at, len(w))
		}
	}
	centres, ok := rep.Centres()
	if !ok {
		t.Fatalf("%v x %d: not known again", d, len(w)/d.Width())
	}
	mask := NewBitmap(len(w) / d.Width())
	Changed(mask, w, base, d)
	var pos []uint32
	mask.each(0, len(w)/d.Width(), func(i int) { pos = append(pos, uint32(i)) })
	sym, ok := rep.Match(nil, w, base, pos, centres)
	if !ok {
		t.Errorf("%v: no match with centres %v", d, centres)
	}
	got := slices.Clone(base)
	if err := ApplyResidual(got, d, pos, sym, centres); err != nil {
		t.Fatal(err)
	}
	bad := 0
	for i := 0; i < len(w); i += d.Width() {
		if string(got[i:i+d.Width()]) != string(w[i:i+d.Width()]) {
			bad++
		}
	}
	if bad > 0 {
		t.Errorf("%v: %d of %d elements differ with centres %v", d, bad, len(w)/d.Width(), centres)
	}
}

func TestApply(t *testing.T) {
	negZero := float32(math.Copysign(0, -1))
	for _, d := range lossy {
		base := toBytes([]float32{negZero, 1, 2, negZero}, d)
		got := slices.Clone(base)
		if err := ApplyResidual(got, d, []uint32{2, 1}, []uint8{1, 0}, []float32{-1, 0.5}); err != nil {
			t.Fatal(err)
		}
		if f := Floats(nil, got, d); f[1] != 0 || f[2] != 2.5 || !math.Signbit(float64(f[0])) || !math.Signbit(float64(f[3])) {
			t.Errorf("%v: %v", d, f)
		}
		zero := make([]byte, len(base))
		if err := ApplyCodebook(zero, d, []uint32{3}, []uint8{1}, []float32{-1, 0.5}); err != nil {
			t.Fatal(err)
		}
		if f := Floats(nil, zero, d); !slices.Equal(f, []float32{0, 0, 0, 0.5}) {
			t.Errorf("%v codebook: %v", d, f)
		}
		for _, bad := range []struct {
			pos []uint32
			sym []uint8
		}{{[]uint32{4}, []uint8{0}}, {[]uint32{0}, []uint8{2}}, {[]uint32{0}, nil}, {[]uint32{1 << 31}, []uint8{0}}} {
			if ApplyResidual(got, d, bad.pos, bad.sym, []float32{1, 2}) == nil || ApplyCodebook(got, d, bad.pos, bad.sym, []float32{1, 2}) == nil {
				t.Errorf("%v: %v applied", d, bad)
			}
		}
	}
	if ApplyResidual(make([]byte, 8), tensor.I32, []uint32{0}, []uint8{0}, []float32{1}) == nil {
		t.Error("applied to integers")
	}
}

func TestCodebook(t *testing.T) {
	for _, c := range [][]float32{nil, {1}, {-1.5, 0, 2}, {1e-30, 1.000001}, {-3e38, 3e38}} {
		b := append(AppendCodebook(nil, c), 9, 9)
		got, rest, err := ParseCodebook(b)
		if err != nil || len(rest) != 2 || !slices.Equal(got, c) {
			t.Errorf("%v became %v, %d left, %v", c, got, len(rest), err)
		}
		for n := range len(b) - 2 {
			if _, _, err := ParseCodebook(b[:n]); err == nil {
				t.Errorf("%v cut to %d bytes parsed", c, n)
			}
		}
	}
	for _, bad := range [][]float32{{2, 1}, {1, 1}, {float32(math.NaN())}} {
		if _, _, err := ParseCodebook(AppendCodebook(nil, bad)); err == nil {
			t.Errorf("%v parsed", bad)
		}
	}
}
