package archive

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
)

// structured is a column of streams; those not given are empty, but for the head.
func structured(in map[int]string) []byte {
	var s streams
	s.out[strValues] = []byte{0, 0}
	for k, p := range in {
		s.out[k] = []byte(p)
	}
	column, _ := s.join()
	return column
}

func TestStructuredRefuses(t *testing.T) {
	local := strings.Repeat("\x00", 30)
	for _, c := range []struct {
		want   string
		column []byte
		size   int64
	}{
		{"ends too early", nil, 0},
		{"1 bytes too long", append(structured(nil), 0), 0},
		{"values: ends too early", structured(map[int]string{strValues: ""}), 0},
		{"alignment 65536", structured(map[int]string{strValues: "\x80\x80\x04\x00"}), 0},
		{"4294967296 keys", structured(map[int]string{strValues: "\x00\x80\x80\x80\x80\x10"}), 0},
		{"0 bytes of 1", structured(nil), 1},
		{"segment of kind 10", structured(map[int]string{strKinds: "\x0a"}), 1},
		{"values: 1 bytes too long", structured(map[int]string{strValues: "\x00\x00\x00"}), 0},
		{"more than 1 bytes", structured(map[int]string{strKinds: "\x00", strValues: "\x00\x00\x02", strRaw: "ab"}), 1},
		{"raw: ends too early", structured(map[int]string{strKinds: "\x00", strValues: "\x00\x00\x02", strRaw: "a"}), 2},
		{"pickle 0 of 3 bytes", structured(map[int]string{strKinds: "\x01", strValues: "\x00\x00\x03"}), 2},
		{"pickle is longer than 1 bytes", structured(map[int]string{strKinds: "\x01", strValues: "\x00\x00\x01", strSymbols: "\x80", strFixed: "\x02"}), 1},
		{"symbol 4", structured(map[int]string{strKinds: "\x01", strValues: "\x00\x00\x01", strSymbols: "\x04"}), 1},
		{"symbols: ends too early", structured(map[int]string{strKinds: "\x01", strValues: "\x00\x00\x02", strSymbols: "]"}), 2},
		{"opcode 'U' with 256 bytes", structured(map[int]string{strKinds: "\x01", strValues: "\x00\x00\x82\x02", strSymbols: "U",
			strStrings: "\x81\x02" + strings.Repeat("a", 256)}), 258},
		{"count of no tensor", structured(map[int]string{strKinds: "\x02"}), 8},
		{"masks: ends too early", structured(map[int]string{strKinds: "\x03"}), 30},
		{"mask 10000000000 of a local header", structured(map[int]string{strKinds: "\x03", strMasks: "\x80\x08"}), 30},
		{"more than 29 bytes", structured(map[int]string{strKinds: "\x03", strMasks: "\x00"}), 29},
		{"text of 65536 bytes", structured(map[int]string{strKinds: "\x03", strMasks: "\x01", strNames: "\x80\x80\x04" + strings.Repeat("a", 65536)}), 65566},
		{"checksum 1 of 0", structured(map[int]string{strKinds: "\x04", strMasks: "\x01", strRefs: "\x01"}), 16},
		{"checksums: ends too early", structured(map[int]string{strKinds: "\x04", strMasks: "\x01", strRefs: "\x00"}), 16},
		{"bytes unpack to", structured(nil), 2 << 20},
		{"more than", structured(nil), packedMax + 1},
	} {
		v, _, err := unpackStructured(c.column, nil, newGaps(nil, c.size))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: %q, %v", c.want, v, err)
		}
	}
	v, _, err := unpackStructured(structured(map[int]string{strKinds: "\x03", strMasks: "\x00"}), nil, newGaps(nil, 30))
	if want := "PK\x03\x04" + local[4:]; err != nil || string(v) != want {
		t.Errorf("%q, %v", v, err)
	}
}

// The form is one of version 2: in version 1 it is damage, as it was.
func TestStructuredVersion(t *testing.T) {
	p := written2(t, torchIndex(3, 5, 64, false))
	if le.Uint16(p[8:]) != 2 {
		t.Errorf("version %d", le.Uint16(p[8:]))
	}
	open(t, p)
	_, err := Open(bytes.NewReader(withVersion(p, 1, 1)), int64(len(p)), "x")
	if d, ok := errors.AsType[*DamageError](err); !ok || !strings.Contains(d.What, "form 2") {
		t.Error(err)
	}
	// Where there is nothing to predict, version 2 has the forms of version 1.
	ix := one(&Writer{w: new(bytes.Buffer)}, "t", []byte("no structure"))
	ix.Format, ix.Tensors[0].Chunks = "torch", nil
	if r := open(t, written2(t, ix)); r.version != 2 || string(r.index.Verbatim) != "no structure" {
		t.Errorf("version %d, %q", r.version, r.index.Verbatim)
	}
	ix.Format = "safetensors"
	if r := open(t, written2(t, ix)); r.version != 1 {
		t.Errorf("version %d", r.version)
	}
}

// Damage anywhere in a small archive is found, and costs no memory.
func TestStructuredFlips(t *testing.T) {
	s := written2(t, torchIndex(3, 5, 64, false))
	for i := range s {
		p := bytes.Clone(s)
		p[i] ^= 0x10
		var err error
		if n := allocated(func() { err = readAll(p) }); n > allocMax || !typed(err) {
			t.Errorf("byte %d: %d bytes allocated, %v", i, n, err)
		}
	}
}

// Under checksums that match, changed streams are refused or give other bytes of the same number.
func TestStructuredStreams(t *testing.T) {
	ix := torchIndex(5, 5, 64, true)
	g := newGaps(ix.Tensors, ix.Size)
	column, sums := packStructured(ix.Verbatim, g)
	limit := uint64(1 << 20)
	for i := range column {
		for _, bit := range []byte{0x01, 0x10, 0x80} {
			p := bytes.Clone(column)
			p[i] ^= bit
			var v []byte
			var err error
			if n := allocated(func() { v, _, err = unpackStructured(p, sums, g) }); n > limit {
				t.Errorf("byte %d: %d bytes allocated", i, n)
			}
			if err == nil && int64(len(v)) != g.size {
				t.Errorf("byte %d: %d bytes", i, len(v))
			}
		}
	}
}

// Bytes made to be looked at again and again take no longer than others.
func TestScanLinear(t *testing.T) {
	for name, unit := range map[string]string{
		"headers and lines": "PK\x03\x04" + strings.Repeat("\x00", 26) + "\x80\x02c",
		"headers and none":  "PK\x03\x04" + strings.Repeat("\x00", 26) + "\x80\x02N",
		"signatures":        "PK",
		"pickles":           "\x80\x02N.",
	} {
		v := bytes.Repeat([]byte(unit), 1<<22/len(unit))
		column, sums := packStructured(v, newGaps(nil, int64(len(v))))
		if column == nil {
			continue
		}
		got, _, err := unpackStructured(column, sums, newGaps(nil, int64(len(v))))
		if err != nil || !bytes.Equal(got, v) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestNextKey(t *testing.T) {
	for _, n := range []int64{1, 2, 9, 10, 11, 99, 100, 101, 192, 1234} {
		v := int64(0)
		var got []string
		for range n {
			got = append(got, fmt.Sprint(v))
			v = nextKey(v, n)
		}
		for i := 1; i < len(got); i++ {
			if got[i-1] >= got[i] {
				t.Fatalf("of %d: %s, then %s", n, got[i-1], got[i])
			}
		}
	}
	if nextKey(7, 0) != 8 || nextKey(9, 0) != 10 {
		t.Error("not the next number")
	}
}
