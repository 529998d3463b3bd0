package archive

import (
	"bytes"
	"crypto/sha256"
	"io"
	"math"
	"strings"
	"testing"

	"excpfs/tensor"
)

// What a reader would refuse, or would not give back, is not written.
func TestFinishRefuses(t *testing.T) {
	for _, c := range []struct {
		want   string
		change func(ix *Index)
	}{
		{"overlap or leave the file", func(ix *Index) { ix.Tensors[1].Offset-- }},
		{"overlap or leave the file", func(ix *Index) { ix.Size -= 4 }},
		{"verbatim bytes for", func(ix *Index) { ix.Verbatim = ix.Verbatim[1:] }},
		{"schema", func(ix *Index) { ix.Schema[0]++ }},
		{"id is not the beginning", func(ix *Index) { ix.ID[0]++ }},
		{`"exp_avg.a.weight": method 64`, func(ix *Index) { ix.Tensors[0].Method = 64 }},
		{"dependency 3 or 1 of 3", func(ix *Index) { ix.Tensors[0].Base = 3 }},
		{"dependency -1 or -2 of 3", func(ix *Index) { ix.Tensors[0].Weights = -2 }},
		{"support of tensor 0 of 8", func(ix *Index) { ix.Tensors[0].Support = 0 }},
		{"support of tensor 8 of 8", func(ix *Index) { ix.Tensors[0].Support = 8 }},
		{"6 chunks, 0 supports for 4 bytes", func(ix *Index) { ix.Tensors[5].Chunks = make([]Block, 6) }},
		{"hash of 4 bytes", func(ix *Index) { ix.Tensors[5].Hash[3] = 1 }},
		{"block 0+200 is outside", func(ix *Index) { ix.Tensors[0].Chunks[0].Offset = 0 }},
		{"is outside the blocks", func(ix *Index) { ix.Tensors[0].Chunks[0].Length = 1 << 31 }},
		{"a block that Append did not return", func(ix *Index) { ix.Tensors[5].Chunks[0].Offset = -1000 }},
		{"a block that Append did not return", func(ix *Index) { ix.Tensors[5].Chunks[0].Length = 1000 }},
		{"dependency role 4", func(ix *Index) { ix.Deps[0].Role = maxRole }},
		{"dependency role 0", func(ix *Index) { ix.Deps[0].Role = 0 }},
		{"hint of 4097 bytes", func(ix *Index) { ix.Deps[0].Hint = strings.Repeat("x", 4097) }},
	} {
		var out bytes.Buffer
		w, err := NewWriter(&out)
		must(err)
		s := &sample{blocks: map[string][]byte{}}
		ix := newSample().index
		for i := range sampleTensors {
			s.tensor(w, i)
		}
		c.change(ix)
		size := w.Size()
		if err := w.Finish(ix, Trailer{}); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v; want %q", err, c.want)
		}
		if w.Size() != size || out.Len() != int(size) {
			t.Errorf("%s: bytes were written", c.want)
		}
	}
}

// one is an index of a single small tensor with that name and those verbatim bytes in front.
func one(w *Writer, name string, verbatim []byte) *Index {
	b, err := w.Append([]byte{1, 2, 3})
	must(err)
	ix := &Index{Format: "safetensors", Hash: sha256.Sum256(verbatim), Verbatim: verbatim}
	ix.ID = ID(ix.Hash[:16])
	ix.Tensors = []Tensor{{Info: tensor.Info{Name: name, DType: tensor.U8, Shape: []int64{3}, Offset: int64(len(verbatim)), Length: 3},
		Method: 1, Base: -1, Weights: -1, Support: -1, Chunks: []Block{b}}}
	ix.Size = int64(len(verbatim)) + 3
	ix.Schema = ix.Layout().Schema()
	return ix
}

// written is the round trip of one; the change comes before Finish.
func written(t *testing.T, name string, verbatim []byte, change func(ix *Index)) *Index {
	t.Helper()
	var out bytes.Buffer
	w, err := NewWriter(&out)
	must(err)
	ix := one(w, name, verbatim)
	change(ix)
	if err := w.Finish(ix, Trailer{}); err != nil {
		t.Fatal(err)
	}
	if w.Size() != int64(out.Len()) {
		t.Errorf("Size %d, %d bytes", w.Size(), out.Len())
	}
	return open(t, out.Bytes()).Index()
}

func TestVerbatim(t *testing.T) {
	text := `"t":{"dtype":"U8","shape":[3],"data_offsets":[0,3]}`
	for _, c := range []struct {
		name, verbatim string
		form           byte
	}{
		{"t", "", verbatimPlain},
		{"t", "other", verbatimPlain},
		{"t", text, verbatimHeader},
		{"t", "12345678{" + text + "}   ", verbatimHeader},
		{"t", text + text, verbatimHeader},
		{"t", strings.ReplaceAll(text, ",", ", "), verbatimPlain},
		{`"`, strings.ReplaceAll(text, "t", `\"`), verbatimPlain},
	} {
		ix := written(t, c.name, []byte(c.verbatim), func(*Index) {})
		if string(ix.Verbatim) != c.verbatim {
			t.Errorf("%q came back as %q", c.verbatim, ix.Verbatim)
		}
		if p := packText(ix.Verbatim, ix.Tensors); p[0] != c.form {
			t.Errorf("%q is stored as %q", c.verbatim, p)
		}
	}
}

func TestVerbatimRefused(t *testing.T) {
	ts := one(&Writer{w: io.Discard}, "t", nil).Tensors
	text := string(headerText(ts))
	for _, p := range []string{"", "\x02", "\x00" + text, "\x01", "\x01\x02a", "\x01" + string(rune(len(text))) + text} {
		if v, err := unpackText([]byte(p), ts); err == nil {
			t.Errorf("%q: %q", p, v)
		}
	}
	if _, err := unpackText([]byte("\x01\x00"), nil); err == nil {
		t.Error("a header of no tensors")
	}
}

func TestMask(t *testing.T) {
	for _, c := range []struct{ name, mask string }{
		{"exp_avg.w", "w"}, {"w.exp_avg", "w"}, {"state.w.exp_avg", "w"}, {"w", "w"}, {"www", "w"}, {"x", "w"}, {"x", ""}, {"", "w"}, {"", ""},
	} {
		ix := written(t, c.name, nil, func(ix *Index) { ix.Tensors[0].Mask = c.mask })
		if ix.Tensors[0].Mask != c.mask || ix.Tensors[0].Name != c.name {
			t.Errorf("%q, %q came back as %q", c.name, c.mask, ix.Tensors[0].Mask)
		}
	}
}

// Figures are float32; a NaN is kept as one.
func TestFigures(t *testing.T) {
	for _, f := range []float64{0, 1e-30, -2, 1.0 / 3, math.Inf(1), math.NaN(), math.Float64frombits(0x7ff0000000000001), 1e-300, math.Copysign(0, -1)} {
		got := written(t, "t", nil, func(ix *Index) { ix.Tensors[0].Mean, ix.Tensors[0].Error = f, f }).Tensors[0]
		want := float64(float32(f))
		if got.Mean != got.Error && f == f || got.Mean != want && f == f || f != f && got.Mean == got.Mean {
			t.Errorf("%v came back as %v", f, got.Mean)
		}
	}
}

func TestInlineBorder(t *testing.T) {
	w, err := NewWriter(io.Discard)
	must(err)
	for _, n := range []int{0, 1, inlineMax, inlineMax + 1} {
		b, err := w.Append(make([]byte, n))
		if inline := b.Offset < 0; err != nil || inline != (n <= inlineMax) || int(b.Length) != n {
			t.Errorf("%d bytes: %+v, %v", n, b, err)
		}
	}
	if w.Size() != headerSize+inlineMax+1 {
		t.Errorf("Size %d", w.Size())
	}
}

// A tensor of 64 bytes has no hash, one of 65 has.
func TestHashBorder(t *testing.T) {
	for _, n := range []int64{hashMin, hashMin + 1} {
		var out bytes.Buffer
		w, err := NewWriter(&out)
		must(err)
		ix := one(w, "t", nil)
		ix.Size, ix.Tensors[0].Shape, ix.Tensors[0].Length = n, []int64{n}, n
		ix.Schema = ix.Layout().Schema()
		ix.Tensors[0].Hash[0] = 7
		if err := w.Finish(ix, Trailer{}); (err == nil) != (n > 64) {
			t.Errorf("%d bytes: %v", n, err)
		} else if err == nil && open(t, out.Bytes()).Index().Tensors[0].Hash != ix.Tensors[0].Hash {
			t.Errorf("%d bytes: hash differs", n)
		}
	}
}

func TestNoTensors(t *testing.T) {
	var out bytes.Buffer
	w, err := NewWriter(&out)
	must(err)
	ix := &Index{Format: "safetensors", Verbatim: []byte("\x02\x00\x00\x00\x00\x00\x00\x00{}")}
	ix.Hash, ix.Size = sha256.Sum256(ix.Verbatim), 10
	ix.ID, ix.Schema, ix.Profile.Name = ID(ix.Hash[:16]), ix.Layout().Schema(), "exact"
	must(w.Finish(ix, Trailer{}))
	got := open(t, out.Bytes()).Index()
	if len(got.Tensors) != 0 || !bytes.Equal(got.Verbatim, ix.Verbatim) || got.Hash != ix.Hash {
		t.Errorf("%+v", got)
	}
	if out.Len() != 253 { // docs/FORMAT.md section 2.7
		t.Errorf("%d bytes", out.Len())
	}
}
