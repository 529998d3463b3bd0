package codec

import (
	"bytes"
	"encoding/binary"
	"math"
	"slices"
	"testing"

	"excpfs/tensor"
)

// kinds of elements, those with loops of their own and one without.
var kinds = []kind{{1, false}, {2, true}, {2, false}, {4, true}, {4, false}, {8, true}, {8, false}}

// FuzzPlanes compares the loops for whole blocks of lanes, which may be assembly, with the plain ones.
func FuzzPlanes(f *testing.F) {
	edges := []byte{0, 1, 0x7f, 0x80, 0xff, 0xfe, 0x3f, 0xc0}
	for k := range kinds {
		for _, n := range []int{1, 15, 16, 17, 48, 333} {
			p := slices.Repeat(edges, n)
			for i := range p {
				p[i] += byte(i / 64)
			}
			f.Add(uint8(k), p, p[3:])
			f.Add(uint8(k), skewed(uint64(k), 8*n, 255), edges)
		}
	}
	f.Fuzz(func(t *testing.T, which uint8, planes, noise []byte) {
		k := kinds[int(which)%len(kinds)]
		planes = planes[:len(planes)/k.width*k.width]
		size := len(planes)
		base := make([]byte, size)
		for i := range base {
			if len(noise) > 0 {
				base[i] = noise[i%len(noise)]
			}
		}
		// Room behind, which must stay as it is.
		const room = 64
		buffer := func() []byte { return bytes.Repeat([]byte{0xa5}, size+room) }
		got, want := buffer(), buffer()
		merge(got[:size], planes, k)
		mergeFrom(0, want[:size], planes, k)
		if !bytes.Equal(got, want) {
			t.Fatalf("merge of %v: %x, plain %x", k, got, want)
		}
		back := make([]byte, size)
		split(back, got[:size], k)
		if !bytes.Equal(back, planes) {
			t.Fatalf("split of %v: %x, want %x", k, back, planes)
		}
		got, want = buffer(), buffer()
		mergeDifferences(got[:size], base, planes, k)
		sumFrom(0, want[:size], base, planes, k)
		if !bytes.Equal(got, want) {
			t.Fatalf("sum of %v: %x, plain %x", k, got, want)
		}
		copy(got, base) // in place
		mergeDifferences(got[:size], got[:size], planes, k)
		if !bytes.Equal(got, want) {
			t.Fatalf("sum of %v in place: %x, plain %x", k, got, want)
		}
	})
}

// applyPlain is ApplyResidual (add) and ApplyCodebook, an element at a time; false: they must refuse.
func applyPlain(dst []byte, d tensor.DType, pos []uint32, sym []uint8, centres []float32, add bool) bool {
	w := d.Width()
	for i, p := range pos {
		if int(sym[i]) >= len(centres) || int64(p)*int64(w)+int64(w) > int64(len(dst)) {
			return false
		}
	}
	for i, p := range pos {
		e, c := dst[w*int(p):][:w], centres[sym[i]]
		if d == tensor.F64 {
			v := float64(c)
			if add {
				v += math.Float64frombits(binary.LittleEndian.Uint64(e))
			}
			binary.LittleEndian.PutUint64(e, math.Float64bits(v))
			continue
		}
		v := c
		switch {
		case !add:
		case d == tensor.F32:
			v += math.Float32frombits(binary.LittleEndian.Uint32(e))
		case d == tensor.BF16:
			v += fromBF16(binary.LittleEndian.Uint16(e))
		default:
			v += fromF16(binary.LittleEndian.Uint16(e))
		}
		switch d {
		case tensor.F32:
			binary.LittleEndian.PutUint32(e, math.Float32bits(v))
		case tensor.BF16:
			binary.LittleEndian.PutUint16(e, toBF16(v))
		default:
			binary.LittleEndian.PutUint16(e, toF16(v))
		}
	}
	return true
}

// FuzzApply compares both ways to apply symbols with the plain one.
func FuzzApply(f *testing.F) {
	lossy := []tensor.DType{tensor.F32, tensor.BF16, tensor.F16, tensor.F64}
	dst := skewed(1, 400, 255)
	for d := range lossy {
		f.Add(uint8(d), dst, []byte{0, 1, 2, 9, 49}, []byte{0, 1, 2, 3, 3}, []byte{0, 0, 0, 0x3c, 1, 0x80, 0x7f, 0x3f, 9, 9, 9, 0xbf, 0, 0, 0x80, 0x3f})
		f.Add(uint8(d), dst[:7], []byte{0, 1}, []byte{0, 0}, []byte{0, 0, 0xc0, 0x7f})
		f.Add(uint8(d), dst, slices.Repeat([]byte{3}, 20), slices.Repeat([]byte{1, 0}, 10), []byte{1, 2, 3, 4, 5, 6, 7, 8}) // a place twice; too large a symbol in others
		f.Add(uint8(d), dst, slices.Repeat([]byte{3}, 20), slices.Repeat([]byte{2, 0}, 10), []byte{1, 2, 3, 4, 5, 6, 7, 8})
	}
	f.Fuzz(func(t *testing.T, which uint8, dst, at, sym, book []byte) {
		d := lossy[int(which)%len(lossy)]
		var centres []float32
		for ; len(book) >= 4 && len(centres) < maxCentres; book = book[4:] {
			centres = append(centres, math.Float32frombits(binary.LittleEndian.Uint32(book)))
		}
		n := min(len(at), len(sym))
		pos := make([]uint32, n)
		for i := range pos {
			pos[i] = uint32(at[i])
			if at[i] == 255 {
				pos[i] = math.MaxUint32
			}
		}
		for _, add := range []bool{true, false} {
			apply := ApplyCodebook
			if add {
				apply = ApplyResidual
			}
			got, want := slices.Clone(dst), slices.Clone(dst)
			err := apply(got, d, pos, sym[:n], centres)
			if fits := applyPlain(want, d, pos, sym[:n], centres, add); fits != (err == nil) {
				t.Fatalf("%v, add %v: %v, plain %v", d, add, err, fits)
			}
			if err == nil && !sameFloats(got, want, d) {
				t.Fatalf("%v, add %v: %x, plain %x", d, add, got, want)
			}
		}
	})
}

// sameFloats compares bits, but for those of NaNs that a sum of two may take from either.
func sameFloats(a, b []byte, d tensor.DType) bool {
	w := d.Width()
	for i := 0; i+w <= len(a); i += w {
		x, y := load(a[i:], w), load(b[i:], w)
		if x != y && !(isNaN(x, d) && isNaN(y, d)) {
			return false
		}
	}
	return bytes.Equal(a[len(a)/w*w:], b[len(b)/w*w:])
}

func isNaN(v uint64, d tensor.DType) bool {
	switch d {
	case tensor.F64:
		return math.IsNaN(math.Float64frombits(v))
	case tensor.F32:
		return math.IsNaN(float64(math.Float32frombits(uint32(v))))
	case tensor.BF16:
		return math.IsNaN(float64(fromBF16(uint16(v))))
	}
	return math.IsNaN(float64(fromF16(uint16(v))))
}
