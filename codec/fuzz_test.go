package codec

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"testing"

	"excpfs/tensor"
)

// grids for fuzzing, some too long for classes.
var grids = []Grid{{0, 0}, {1, 1}, {1, 777}, {40, 50}, {50, 3}, {3, 500}, {1 << 40, 1 << 10}, {8, 1 << 30}}

func FuzzSupportDecode(f *testing.F) {
	for i, g := range grids {
		if g.Rows*g.Cols > 1<<20 || g.Rows == 0 {
			continue
		}
		m := newMatrix(uint64(i), int(g.Rows), int(g.Cols), 0.3)
		c := NewCounts(g, false)
		c.Add(0, m.elems(), m.mask, nil)
		s := FitSupport(g, c)
		f.Add(uint8(i), int64(0), uint16(m.elems()), s.Append(nil), s.Encode(nil, 0, m.elems(), m.mask, nil), []byte(nil))
	}
	f.Add(uint8(6), int64(3), uint16(700), []byte{3, 1, 5, 9, 1, 9, 2}, []byte{1, 2, 3, 4, 5}, []byte{0xf0})
	f.Fuzz(func(t *testing.T, grid uint8, start int64, n uint16, model, src, domain []byte) {
		g := grids[int(grid)%len(grids)]
		s, _, err := ParseSupport(g, model)
		if err != nil {
			return
		}
		var dom Bitmap
		if len(domain) > 0 {
			dom = NewBitmap(int(n))
			for i := range dom {
				var w [8]byte
				copy(w[:], domain[i%len(domain):])
				dom[i] = binary.LittleEndian.Uint64(w[:])
			}
		}
		pos, err := s.Decode(nil, src, start, int(n), dom)
		plain, perr := s.decodePlain(nil, src, start, int(n), dom)
		if (err == nil) != (perr == nil) || err == nil && !slices.Equal(pos, plain) {
			t.Fatalf("fast: %d positions, %v; plain: %d, %v", len(pos), err, len(plain), perr)
		}
		for _, p := range pos {
			if p >= uint32(n) || dom != nil && !dom.Get(int(p)) {
				t.Fatalf("position %d of %d", p, n)
			}
		}
		if len(pos) > int(n) {
			t.Fatalf("%d positions of %d", len(pos), n)
		}
	})
}

func FuzzValuesDecode(f *testing.F) {
	for i, g := range grids[1:6] {
		m := newMatrix(uint64(i), int(g.Rows), int(g.Cols), 0.5)
		sp := NewSpread(g)
		sp.Add(0, m.x, m.mask)
		v := FitValues(g, sp)
		var pos []uint32
		m.mask.each(0, m.elems(), func(i int) { pos = append(pos, uint32(i)) })
		sym := make([]uint8, len(pos))
		for i := range sym {
			sym[i] = uint8(i * i % 15)
		}
		f.Add(uint8(i+1), int64(0), uint16(len(pos)), v.Append(nil), v.Encode(nil, 0, pos, sym))
	}
	f.Add(uint8(3), int64(9), uint16(100), []byte{3, 1, 5, 9, 1, 9, 2}, []byte{3, 12, 5, 1, 2, 3, 4, 5})
	f.Fuzz(func(t *testing.T, grid uint8, start int64, n uint16, model, src []byte) {
		v, _, err := ParseValues(grids[int(grid)%len(grids)], model)
		if err != nil {
			return
		}
		pos := make([]uint32, n)
		for i := range pos {
			pos[i] = uint32(i * 3)
		}
		_ = v.Decode(make([]uint8, n), src, start, pos)
	})
}

func FuzzExactDecode(f *testing.F) {
	for _, d := range []tensor.DType{tensor.U8, tensor.BF16, tensor.F32, tensor.I64} {
		src, base := make([]byte, 800), make([]byte, 800)
		for i := range src {
			src[i], base[i] = byte(i*i), byte(i*i)
		}
		src[7], src[99] = 200, 3
		f.Add(uint8(d), uint16(800), EncodeExact(nil, src, nil, d), base)
		f.Add(uint8(d), uint16(800), EncodeExact(nil, src, base, d), base)
	}
	f.Fuzz(func(t *testing.T, d uint8, n uint16, src, base []byte) {
		var b []byte
		if len(base) > 0 {
			b = slices.Repeat(base, int(n)/len(base)+1)[:n]
		}
		dst := make([]byte, int(n), int(n)+64)
		_ = DecodeExact(dst, src, b, tensor.DType(d%22+1))
		if !bytes.Equal(dst[:cap(dst)][n:], make([]byte, 64)) {
			t.Fatal("wrote behind the end")
		}
	})
}

func FuzzCodebook(f *testing.F) {
	f.Add(AppendCodebook(nil, []float32{-1, 0.25, 3e9}))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, rest, err := ParseCodebook(b)
		if err != nil {
			return
		}
		again, _, err := ParseCodebook(AppendCodebook(nil, c))
		if err != nil || !slices.Equal(again, c) || len(rest) > len(b) {
			t.Fatalf("%v became %v, %v", c, again, err)
		}
	})
}

func FuzzExactRoundTrip(f *testing.F) {
	f.Add(uint8(15), []byte("some floats here"), []byte{1})
	f.Add(uint8(12), bytes.Repeat([]byte{7, 0, 60}, 50), []byte{0, 0, 9, 1})
	f.Fuzz(func(t *testing.T, d uint8, src, noise []byte) {
		dt := tensor.DType(d%22 + 1)
		base := slices.Clone(src)
		for i := range base {
			if len(noise) > 0 {
				base[i] += noise[i%len(noise)]
			}
		}
		for _, b := range [][]byte{nil, base} {
			p := EncodeExact(nil, src, b, dt)
			dst := make([]byte, len(src))
			if err := DecodeExact(dst, p, b, dt); err != nil || !bytes.Equal(dst, src) || len(p) > len(src)+16 {
				t.Fatalf("%v, base %v: %d bytes became %d, %v", dt, b != nil, len(src), len(p), err)
			}
		}
	})
}

func FuzzSupportRoundTrip(f *testing.F) {
	f.Add(uint64(1), uint8(30), uint8(40), uint8(20), false)
	f.Add(uint64(2), uint8(200), uint8(7), uint8(128), true)
	f.Fuzz(func(t *testing.T, seed uint64, rows, cols, odds uint8, nested bool) {
		if rows == 0 || cols == 0 {
			return
		}
		m := newMatrix(seed, int(rows), int(cols), float64(odds)/64)
		r := rand.New(rand.NewPCG(seed, 1))
		checkSupport(t, m, nested, 1+r.IntN(m.elems()))
	})
}
