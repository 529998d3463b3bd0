package codec

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"excpfs/tensor"
)

// state is one weight with its moments and its base.
type state struct {
	name       string
	shape      []int64
	w, b, m, v []byte // fp32
}

// sizes is bytes by stream.
type sizes map[string]int

func (s sizes) total() (n int) {
	for _, v := range s {
		n += v
	}
	return n
}

func (s sizes) String() string {
	var b strings.Builder
	for _, k := range slices.Sorted(maps.Keys(s)) {
		fmt.Fprintf(&b, "%12s %8d\n", k, s[k])
	}
	fmt.Fprintf(&b, "%12s %8d", "total", s.total())
	return b.String()
}

const ratioBits = 4

// compress runs profile excp over one weight and its moments, adds up the bytes and
// returns the squared error of the weights and the sum of their squares.
func compress(t *testing.T, s state, alpha float64, out sizes) (sqErr, sq float64) {
	t.Helper()
	g := GridOf(s.shape)
	n := len(s.w) / 4
	step := int(ChunkElems(tensor.F32, s.shape))
	w := Floats(nil, s.w, tensor.F32)
	v := Floats(nil, s.v, tensor.F32)
	m := Floats(nil, s.m, tensor.F32)
	dw := Differences(nil, s.w, s.b, tensor.F32)
	mask := NewBitmap(n)
	var domain Bitmap
	if len(s.shape) < 2 {
		out["W 1-D"] += len(EncodeExact(nil, s.w, s.b, tensor.F32))
		for i, d := range dw {
			if d != 0 {
				mask.Set(i)
			}
		}
	} else {
		keep(mask, dw, WeightThreshold(alpha, mean(v, 2), median(dw)))
		dst := slices.Clone(s.b)
		encode(t, "W", g, step, dw, mask, nil, out, func(from int, pos []uint32, sym []uint8, c []float32) {
			if err := ApplyResidual(dst[4*from:], tensor.F32, pos, sym, c); err != nil {
				t.Fatal(err)
			}
		})
		for i, x := range Floats(nil, dst, tensor.F32) {
			e := float64(x) - float64(w[i])
			sqErr += e * e
			sq += float64(w[i]) * float64(w[i])
		}
		domain = mask
	}
	mm := NewBitmap(n)
	keep(mm, m, 2*mean(m, 1))
	for i := range mm {
		mm[i] &= mask[i]
	}
	encode(t, "M", g, step, m, mm, domain, out, nil)
	encode(t, "V", g, step, v, mm, domain, out, nil)
	return sqErr, sq
}

func median(x []float32) float32 {
	var m Median
	m.Count(x)
	m.Narrow()
	m.Count(x)
	return m.Value()
}

// mean of |x|^p.
func mean(x []float32, p int) (s float64) {
	for _, f := range x {
		if p == 1 || p == 2 { // v is a square already
			s += math.Abs(float64(f))
		}
	}
	return s / float64(len(x))
}

func keep(mask Bitmap, x []float32, above float64) {
	for i, f := range x {
		if math.Abs(float64(f)) > above {
			mask.Set(i)
		}
	}
}

func encode(t *testing.T, name string, g Grid, step int, x []float32, mask, domain Bitmap, out sizes, apply func(from int, pos []uint32, sym []uint8, c []float32)) {
	t.Helper()
	n := len(x)
	counts, spread, hist := NewCounts(g, domain != nil), NewSpread(g), new(Histogram)
	counts.Add(0, n, mask, domain)
	spread.Add(0, x, mask)
	hist.Add(x, mask)
	centres := FitCodebook(hist, 1<<ratioBits-1)
	sup, val := FitSupport(g, counts), FitValues(g, spread)
	dim := map[bool]string{true: " 1-D", false: ""}[g.Rows == 1]
	out[name+" book"+dim] += len(AppendCodebook(nil, centres))
	out[name+" valside"+dim] += len(val.Append(nil))
	if name != "V" {
		out[name+" supside"+dim] += len(sup.Append(nil))
	}
	for at := 0; at < n; at += step {
		end := min(n, at+step)
		mc, dc := mask.slice(at, end), Bitmap(nil)
		if domain != nil {
			dc = domain.slice(at, end)
		}
		p := sup.Encode(nil, int64(at), end-at, mc, dc)
		if name != "V" {
			out[name+" sup"+dim] += len(p)
		}
		pos, err := sup.Decode(nil, p, int64(at), end-at, dc)
		if err != nil {
			t.Fatal(err)
		}
		sym := Assign(nil, x[at:end], pos, centres)
		p = val.Encode(nil, int64(at), pos, sym)
		out[name+" val"+dim] += len(p)
		if err := val.Decode(sym, p, int64(at), pos); err != nil {
			t.Fatal(err)
		}
		if apply != nil {
			apply(at, pos, sym, centres)
		}
	}
}

// readTensors reads a safetensors file.
func readTensors(t *testing.T, path string) (map[string][]int64, map[string][]byte) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	n := binary.LittleEndian.Uint64(b)
	var header map[string]struct {
		Shape       []int64
		DataOffsets [2]int64 `json:"data_offsets"`
	}
	if err := json.Unmarshal(b[8:8+n], &header); err != nil && header == nil {
		t.Fatal(err)
	}
	shapes, data := map[string][]int64{}, map[string][]byte{}
	for k, h := range header {
		if k != "__metadata__" {
			shapes[k], data[k] = h.Shape, b[8+n:][h.DataOffsets[0]:h.DataOffsets[1]]
		}
	}
	return shapes, data
}

// shared finds the folder of real chains.
func shared(t testing.TB, path string) string {
	root := os.Getenv("EXCPFS_SHARED")
	if root == "" {
		root = "../../shared"
	}
	p := filepath.Join(root, path)
	if _, err := os.Stat(p); err != nil {
		t.Skipf("no real chain at %s: set EXCPFS_SHARED", p)
	}
	return p
}

func chainStates(t *testing.T, base, step int) (states []state) {
	dir := shared(t, "chain/dev")
	path := func(step int, name string) string {
		return filepath.Join(dir, fmt.Sprintf("checkpoint-%d", step), name)
	}
	shapes, w := readTensors(t, path(step, "model.safetensors"))
	_, b := readTensors(t, path(base, "model.safetensors"))
	_, o := readTensors(t, path(step, "optimizer.safetensors"))
	for _, k := range slices.Sorted(maps.Keys(shapes)) {
		states = append(states, state{k, shapes[k], w[k], b[k], o["exp_avg."+k], o["exp_avg_sq."+k]})
	}
	return states
}

// The reference packs the same symbols two a byte, adds the codebooks in fp16 and the 1-D
// weights as they are, and runs xz -9e on each of the four streams: 416124 and 879952 bytes.
func TestRatioChain(t *testing.T) {
	states := chainStates(t, 500, 600)
	for _, c := range []struct {
		alpha float64
		limit int
	}{{1e-3, 416124 * 100 / 118}, {5e-5, 879952 * 100 / 115}} {
		out := sizes{}
		var sqErr, sq float64
		for _, s := range states {
			e, q := compress(t, s, c.alpha, out)
			sqErr, sq = sqErr+e, sq+q
		}
		t.Logf("alpha %g, error %.4f\n%v", c.alpha, math.Sqrt(sqErr/sq), out)
		if out.total() > c.limit {
			t.Errorf("alpha %g: %d bytes, at most %d wanted", c.alpha, out.total(), c.limit)
		}
	}
}

// madeState has what real states have: rows and columns of different scale in all three.
func madeState(seed uint64, shape ...int64) state {
	r := rand.New(rand.NewPCG(seed, 5))
	g := GridOf(shape)
	rs, cs := make([]float64, g.Rows), make([]float64, g.Cols)
	for i := range rs {
		rs[i] = math.Exp(0.7 * r.NormFloat64())
	}
	for i := range cs {
		cs[i] = math.Exp(0.4 * r.NormFloat64())
	}
	s := state{shape: shape}
	put := func(b []byte, x float64) []byte {
		return binary.LittleEndian.AppendUint32(b, math.Float32bits(float32(x)))
	}
	for i := range g.Rows {
		for j := range g.Cols {
			scale := rs[i] * cs[j]
			b := float64(float32(0.02 * r.NormFloat64()))
			m := 1e-3 * scale * r.NormFloat64()
			s.b = put(s.b, b)
			s.w = put(s.w, b+5e-4*r.NormFloat64()*math.Sqrt(scale)+0.05*m)
			s.m = put(s.m, m)
			s.v = put(s.v, 1e-6*scale*scale*(0.5+r.Float64()))
		}
	}
	return s
}

func TestRatioMade(t *testing.T) {
	for _, c := range []struct {
		alpha, error float64
		limit        int
	}{{1e-2, 0.018, 36000}, {5e-6, 0.004, 109000}} {
		out := sizes{}
		e, q := compress(t, madeState(1, 384, 512), c.alpha, out)
		e1, q1 := compress(t, madeState(2, 1000), c.alpha, out)
		err := math.Sqrt((e + e1) / (q + q1))
		t.Logf("alpha %g, error %.4f\n%v", c.alpha, err, out)
		if out.total() > c.limit || err > c.error {
			t.Errorf("alpha %g: %d bytes, error %.4f; at most %d, %.4f wanted", c.alpha, out.total(), err, c.limit, c.error)
		}
	}
}
