package codec

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"excpfs/tensor"
)

func TestGridOf(t *testing.T) {
	for _, c := range []struct {
		shape      []int64
		rows, cols int64
	}{
		{nil, 1, 1}, {[]int64{7}, 1, 7}, {[]int64{3, 5}, 3, 5}, {[]int64{0, 5}, 0, 0},
		{[]int64{512, 256, 3, 3}, 512, 2304}, {[]int64{8, 64, 32}, 512, 32}, {[]int64{1, 9}, 1, 9},
		{[]int64{9, 1}, 1, 9}, {[]int64{math.MaxInt64, 3}, 0, 0},
	} {
		if g := GridOf(c.shape); g != (Grid{c.rows, c.cols}) {
			t.Errorf("GridOf(%v) = %v", c.shape, g)
		}
	}
}

func TestChunkElems(t *testing.T) {
	for _, c := range []struct {
		d     tensor.DType
		shape []int64
		want  int64
	}{
		{tensor.F32, []int64{1000, 1000}, 262000}, {tensor.BF16, []int64{4096, 4096}, 524288},
		{tensor.F32, []int64{2, 300000}, 262144}, {tensor.F64, []int64{5}, 131070}, {tensor.U8, nil, 1 << 20},
		{tensor.F4, []int64{3, 3}, 1 << 20}, {tensor.F32, []int64{0, 4}, 262144},
	} {
		if n := ChunkElems(c.d, c.shape); n != c.want {
			t.Errorf("ChunkElems(%v, %v) = %d, want %d", c.d, c.shape, n, c.want)
		}
	}
}

func TestGolomb(t *testing.T) {
	for _, m := range divisors[1:] {
		g := newGolomb(m)
		var w bitWriter
		var vs []uint64
		for v := uint64(0); v < 3*m+5 && v < 100; v++ {
			vs = append(vs, v)
		}
		vs = append(vs, m-1, m, m+1, 2*m-1, 1000, 65535, m*200)
		for _, v := range vs {
			g.put(&w, v)
		}
		r := newBitReader(nil, w.bytes())
		for _, v := range vs {
			if got := g.get(&r); got != v {
				t.Fatalf("m %d: %d came back as %d", m, v, got)
			}
		}
		if r.over() {
			t.Fatalf("m %d: read beyond the end", m)
		}
	}
}

// packSamples are byte streams of many kinds.
func packSamples() map[string][]byte {
	r := rand.New(rand.NewPCG(1, 2))
	s := map[string][]byte{"empty": {}, "one": {5}, "zero": make([]byte, 1000), "const": bytes.Repeat([]byte{200}, 300000)}
	for _, n := range []int{2, 10, 100, 1000, 5000, packBlock, packBlock + 1, 300000} {
		skew, flat := make([]byte, n), make([]byte, n)
		for i := range n {
			skew[i] = byte(min(14, math.Abs(r.NormFloat64()*3)))
			flat[i] = byte(r.Uint32())
		}
		s[fmt.Sprint("skew", n)], s[fmt.Sprint("flat", n)] = skew, flat
	}
	rare := make([]byte, 200000)
	rare[77], rare[150000] = 1, 3
	s["rare"] = rare
	return s
}

func TestPack(t *testing.T) {
	for name, src := range packSamples() {
		p := append(appendPacked([]byte("head"), src, fseGain), "tail"...)
		if len(p) > len(src)+8+2*(len(src)/packBlock+1) {
			t.Errorf("%s: %d bytes became %d", name, len(src), len(p))
		}
		dst := make([]byte, len(src))
		rest, err := unpack(dst, p[4:])
		if err != nil || string(rest) != "tail" || !bytes.Equal(dst, src) {
			t.Errorf("%s: %v, rest %q", name, err, rest)
		}
	}
}

func TestHalf(t *testing.T) {
	for i := range 1 << 16 {
		h := uint16(i)
		f := fromF16(h)
		if want := slowF16(h); math.Float32bits(f) != math.Float32bits(want) && f == f {
			t.Fatalf("f16 %04x = %v, want %v", h, f, want)
		}
		if back := toF16(f); back != h && f == f {
			t.Fatalf("f16 %04x came back as %04x", h, back)
		}
		if b := fromBF16(h); toBF16(b) != h && b == b {
			t.Fatalf("bf16 %04x came back as %04x", h, toBF16(b))
		}
		if back := fromF16(toF16(f)); (f != f) != (back != back) {
			t.Fatalf("f16 %04x: NaN lost", h)
		}
		if h&0x7fff >= 0x7c00 || h&0x7fff == 0x7bff {
			continue
		}
		// Values between neighbours go to the nearer, halves to the even one.
		next := fromF16(h + 1)
		mid := (f + next) / 2
		even := h + h&1
		for _, c := range []struct {
			v    float32
			want uint16
		}{{mid, even}, {math.Nextafter32(mid, f), h}, {math.Nextafter32(mid, next), h + 1}} {
			if got := toF16(c.v); got != c.want {
				t.Fatalf("toF16(%v) = %04x, want %04x", c.v, got, c.want)
			}
		}
		if h&0x7fff >= 0x7f7f {
			continue
		}
		f, next = fromBF16(h), fromBF16(h+1)
		mid = float32((float64(f) + float64(next)) / 2)
		for _, c := range []struct {
			v    float32
			want uint16
		}{{mid, even}, {math.Nextafter32(mid, f), h}, {math.Nextafter32(mid, next), h + 1}} {
			if got := toBF16(c.v); got != c.want {
				t.Fatalf("toBF16(%v) = %04x, want %04x", c.v, got, c.want)
			}
		}
	}
	for f, want := range map[float32]uint16{65504: 0x7bff, 65519: 0x7bff, 65520: 0x7c00, 1e10: 0x7c00, -1e10: 0xfc00, 1e-10: 0} {
		if got := toF16(f); got != want {
			t.Errorf("toF16(%v) = %04x, want %04x", f, got, want)
		}
	}
}

func slowF16(h uint16) float32 {
	s := 1 - 2*float64(h>>15)
	e, m := int(h>>10&31), float64(h&0x3ff)
	switch {
	case e == 31 && m == 0:
		return float32(s * math.Inf(1))
	case e == 31:
		return float32(math.NaN())
	case e == 0:
		return float32(math.Copysign(math.Ldexp(m, -24), s))
	}
	return float32(s * math.Ldexp(1+m/1024, e-15))
}

// matrix is a mask and values whose density and size vary by row and column.
type matrix struct {
	g            Grid
	mask, domain Bitmap
	x            []float32
}

func newMatrix(seed uint64, rows, cols int, density float64) matrix {
	r := rand.New(rand.NewPCG(seed, 7))
	m := matrix{Grid{int64(rows), int64(cols)}, NewBitmap(rows * cols), NewBitmap(rows * cols), make([]float32, rows*cols)}
	cs := make([]float64, cols)
	for i := range cs {
		cs[i] = math.Exp(r.NormFloat64())
	}
	for i := range rows {
		rs := math.Exp(r.NormFloat64())
		for j := range cols {
			p := density * rs * cs[j]
			at := i*cols + j
			if p = p / (1 + p); r.Float64() < p {
				m.domain.Set(at)
				if r.Float64() < 2*p {
					m.mask.Set(at)
				}
			}
			m.x[at] = float32(r.NormFloat64() * rs * cs[j])
		}
	}
	return m
}

func (m matrix) elems() int { return len(m.x) }

// slice copies the bits [from, to).
func (b Bitmap) slice(from, to int) Bitmap {
	s := NewBitmap(to - from)
	for i := from; i < to; i++ {
		if b.Get(i) {
			s.Set(i - from)
		}
	}
	return s
}

var matrices = []struct {
	rows, cols int
	density    float64
}{{1, 1, 1}, {1, 100, .1}, {64, 64, .1}, {200, 130, .02}, {128, 300, .5}, {300, 128, 30}, {70, 500, 0}, {50, 50, 1e9}, {3000, 3, .2}, {3, 3000, .2}}

func TestSupportRoundTrip(t *testing.T) {
	for i, c := range matrices {
		m := newMatrix(uint64(i), c.rows, c.cols, c.density)
		for _, nested := range []bool{false, true} {
			for _, chunk := range []int{m.elems(), c.cols * max(1, c.rows/3), max(1, c.cols*2/3)} {
				checkSupport(t, m, nested, chunk)
			}
		}
	}
}

func checkSupport(t *testing.T, m matrix, nested bool, chunk int) {
	t.Helper()
	counts := NewCounts(m.g, nested)
	for at := 0; at < m.elems(); at += chunk {
		end := min(m.elems(), at+chunk)
		var dom Bitmap
		if nested {
			dom = m.domain.slice(at, end)
		}
		counts.Add(int64(at), end-at, m.mask.slice(at, end), dom)
	}
	s := FitSupport(m.g, counts)
	model := append(s.Append(nil), 1, 2, 3)
	s2, rest, err := ParseSupport(m.g, model)
	if err != nil || len(rest) != 3 {
		t.Fatalf("%v: model: %v, %d left", m.g, err, len(rest))
	}
	v := fitValues(t, m)
	for at := 0; at < m.elems(); at += chunk {
		n := min(m.elems(), at+chunk) - at
		mask, dom := m.mask.slice(at, at+n), Bitmap(nil)
		if nested {
			dom = m.domain.slice(at, at+n)
		}
		p := s.Encode(nil, int64(at), n, mask, dom)
		pos, err := s2.Decode(nil, p, int64(at), n, dom)
		if err != nil {
			t.Fatalf("%v chunk %d+%d: %v", m.g, at, n, err)
		}
		if plain, err := s2.decodePlain(nil, p, int64(at), n, dom); err != nil || !slices.Equal(plain, pos) {
			t.Fatalf("%v chunk %d+%d: fast and plain decoders differ (%v)", m.g, at, n, err)
		}
		got := NewBitmap(n)
		for _, p := range pos {
			if got.Get(int(p)) {
				t.Fatalf("%v: position %d twice", m.g, p)
			}
			got.Set(int(p))
		}
		if !slices.Equal(got, mask) {
			t.Fatalf("%v chunk %d+%d nested %v: other positions", m.g, at, n, nested)
		}
		checkValues(t, v, m, at, pos)
	}
}

func fitValues(t *testing.T, m matrix) *Values {
	t.Helper()
	spread := NewSpread(m.g)
	spread.Add(0, m.x, m.mask)
	v, rest, err := ParseValues(m.g, FitValues(m.g, spread).Append(nil))
	if err != nil || len(rest) != 0 {
		t.Fatalf("values model: %v", err)
	}
	return v
}

func checkValues(t *testing.T, v *Values, m matrix, at int, pos []uint32) {
	t.Helper()
	sym := make([]uint8, len(pos))
	for i, p := range pos {
		sym[i] = uint8(min(max(8+2*m.x[at+int(p)], 0), 15))
	}
	got := make([]uint8, len(pos))
	if err := v.Decode(got, v.Encode(nil, int64(at), pos, sym), int64(at), pos); err != nil || !bytes.Equal(got, sym) {
		t.Fatalf("%v values at %d: %v", m.g, at, err)
	}
}

func TestExactRoundTrip(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for d := tensor.Bool; d.Valid(); d++ {
		for _, n := range []int{0, 1, 3, 128, 5000, 70001} {
			w := d.Width()
			src, base := make([]byte, n*w), make([]byte, n*w)
			for i := range src {
				src[i], base[i] = byte(r.Uint32()), byte(r.Uint32())
			}
			near := slices.Clone(base)
			for i := 0; i < len(near); i += w {
				near[i] += byte(r.IntN(3))
			}
			for _, s := range [][]byte{src, near, make([]byte, n*w)} {
				for _, b := range [][]byte{nil, base} {
					p := EncodeExact([]byte("x"), s, b, d)[1:]
					if len(p) > len(s)+16 {
						t.Errorf("%v x %d: %d bytes became %d", d, n, len(s), len(p))
					}
					dst := slices.Clone(b)
					if b == nil {
						dst = make([]byte, len(s))
					}
					in := b
					if b != nil {
						in = dst
					}
					if err := DecodeExact(dst, p, in, d); err != nil || !bytes.Equal(dst, s) {
						t.Fatalf("%v x %d base %v: %v", d, n, b != nil, err)
					}
				}
			}
		}
	}
}
