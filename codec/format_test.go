package codec

import (
	"bytes"
	"slices"
	"testing"

	"excpfs/tensor"
)

// Payloads worked out by hand from docs/FORMAT.md section 3.

func TestSupportBytes(t *testing.T) {
	g := Grid{1, 10}
	s, rest, err := ParseSupport(g, []byte{0})
	if err != nil || len(rest) != 0 {
		t.Fatal(err)
	}
	for _, c := range []struct {
		payload []byte
		pos     []uint32
	}{
		// m 2; gaps 2, 0, 3 and 2 to the end: 010 10 011 010
		{[]byte{0x02, 0xca, 0x02}, []uint32{2, 3, 7}},
		// the same places are those that are missing
		{[]byte{0x82, 0xca, 0x02}, []uint32{0, 1, 4, 5, 6, 8, 9}},
		{[]byte{0x00}, nil},
		{[]byte{0x80}, []uint32{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}},
	} {
		pos, err := s.Decode(nil, c.payload, 0, 10, nil)
		if err != nil || !slices.Equal(pos, c.pos) {
			t.Errorf("% x: %v, %v", c.payload, pos, err)
		}
		mask := NewBitmap(10)
		for _, p := range c.pos {
			mask.Set(int(p))
		}
		if p := s.Encode(nil, 0, 10, mask, nil); !bytes.Equal(p, c.payload) {
			t.Errorf("%v became % x, want % x", c.pos, p, c.payload)
		}
	}
	if _, err := s.Decode(nil, []byte{0x02, 0x0a}, 0, 10, nil); err == nil {
		t.Error("a stream that ends early was taken")
	}
}

// Two rows of four; columns 1 and 3 are class 1. Column order is 0, 2, 1, 3; class 1 is full.
func TestSupportClassBytes(t *testing.T) {
	s, _, err := ParseSupport(Grid{2, 4}, []byte{2, 0, 2, 1, 0x0a})
	if err != nil {
		t.Fatal(err)
	}
	pos, err := s.Decode(nil, []byte{0, 0x80}, 0, 8, nil)
	if err != nil || !slices.Equal(pos, []uint32{1, 3, 5, 7}) {
		t.Errorf("%v, %v", pos, err)
	}
	// class 0 (elements 0, 2, 4, 6), m 1: gaps 1, 1 and 0 to the end: 01 01 1
	pos, err = s.Decode(nil, []byte{1, 0, 0x1a}, 0, 8, nil)
	if err != nil || !slices.Equal(pos, []uint32{2, 6}) {
		t.Errorf("%v, %v", pos, err)
	}
}

func TestValuesBytes(t *testing.T) {
	g := Grid{1, 10}
	v, _, err := ParseValues(g, []byte{0})
	if err != nil {
		t.Fatal(err)
	}
	sym, pos := []uint8{1, 2, 1}, []uint32{2, 3, 7}
	if p := v.Encode(nil, 0, pos, sym); !bytes.Equal(p, []byte{2, 0x19}) {
		t.Errorf("% x", p)
	}
	got := make([]uint8, 3)
	if err := v.Decode(got, []byte{9, 7}, 0, pos); err != nil || !bytes.Equal(got, []byte{7, 7, 7}) {
		t.Errorf("%v, %v", got, err)
	}
	if v.Decode(got, []byte{9, 7, 0}, 0, pos) == nil {
		t.Error("a byte too many was taken")
	}
}

func TestExactBytes(t *testing.T) {
	base := []byte{0x80, 0x3f, 0x00, 0x80, 0x00, 0x40} // 1, -0, 2 in BF16
	for _, c := range []struct{ payload, want []byte }{
		{[]byte{0, 1, 2, 3, 4, 5, 6}, []byte{1, 2, 3, 4, 5, 6}},
		{[]byte{1, 8, 0x01, 0x00, 0x00, 9, 0x7f}, []byte{0x80, 0xbf, 0x80, 0x3f, 0x80, 0x3f}},
		{[]byte{2, 2, 0x24, 0}, []byte{0x80, 0x3f, 0x01, 0x80, 0x01, 0x40}}, // differences 0, -1, +1 are 0, 1, 2
	} {
		dst := make([]byte, 6)
		if err := DecodeExact(dst, c.payload, base, tensor.BF16); err != nil || !bytes.Equal(dst, c.want) {
			t.Errorf("% x: % x, %v, want % x", c.payload, dst, err, c.want)
		}
	}
}
