package excp

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"excpfs/safetensors"
	"excpfs/tensor"
	"excpfs/torchfile"
)

const fixture = "testdata/series/"

var deltas = []string{"models/checkpoint-600", "models/checkpoint-700", "models2/checkpoint-100"}

// file is one in memory.
type file struct{ b []byte }

func (f *file) WriteAt(p []byte, off int64) (int, error) {
	if n := int(off) + len(p); n > len(f.b) {
		f.b = append(f.b, make([]byte, n-len(f.b))...)
	}
	return copy(f.b[off:], p), nil
}

func (f *file) Truncate(size int64) error {
	f.b = f.b[:size]
	return nil
}

func memory(b []byte) File { return File{bytes.NewReader(b), int64(len(b))} }

func load(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.FromSlash(fixture + name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func full(t testing.TB) Checkpoint {
	return Checkpoint{memory(load(t, "models/checkpoint-500/model.safetensors")), memory(load(t, "models/checkpoint-500/optimizer.pt"))}
}

func begin(t testing.TB) *Series {
	t.Helper()
	s, err := Begin(full(t), nil)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// next reconstructs a delta.
func next(s *Series, delta []byte, base Checkpoint) (Checkpoint, []string, error) {
	d, err := Open(memory(delta))
	if err != nil {
		return base, nil, err
	}
	var model, optimizer file
	notes, err := s.Reconstruct(context.Background(), d, base, &model, &optimizer)
	return Checkpoint{memory(model.b), memory(optimizer.b)}, notes, err
}

func content(t *testing.T, f File) []byte {
	t.Helper()
	b, err := io.ReadAll(io.NewSectionReader(f, 0, f.Size))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// The series comes out as the independent implementation reconstructs it.
func TestSeries(t *testing.T) {
	s, base := begin(t), full(t)
	for _, name := range deltas {
		c, notes, err := next(s, load(t, name+"/compressed.pt"), base)
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%s: %q", name, notes)
		if got, want := content(t, c.Model), load(t, "want/"+name+"/model.safetensors"); !bytes.Equal(got, want) {
			t.Errorf("%s: the model is not what save_file writes of the reconstruction", name)
		}
		got, want := content(t, c.Optimizer), load(t, "want/"+name+"/optimizer.pt")
		sameTensors(t, got, want)
		if len(got) != len(load(t, "models/checkpoint-500/optimizer.pt")) {
			t.Errorf("%s: the optimizer's file has another length than the full one", name)
		}
		sound(t, got)
		base = c
	}
}

// sameTensors compares names, types, shapes and bytes.
func sameTensors(t *testing.T, got, want []byte) {
	t.Helper()
	lists := [2]map[string]string{{}, {}}
	for i, b := range [][]byte{got, want} {
		list, err := torchfile.Tensors(bytes.NewReader(b), int64(len(b)))
		if err != nil {
			t.Fatal(err)
		}
		for _, x := range list {
			n, _ := tensor.Product(x.Shape)
			at := x.Offset + x.Start*int64(x.DType.Width())
			lists[i][x.Path] = fmt.Sprint(x.DType, x.Shape, b[at:at+n*int64(x.DType.Width())])
		}
	}
	if len(lists[0]) != len(lists[1]) || len(lists[0]) == 0 {
		t.Errorf("%d tensors, not %d", len(lists[0]), len(lists[1]))
	}
	for name, x := range lists[1] {
		if lists[0][name] != x {
			t.Errorf("%s differs", name)
		}
	}
}

// sound reads every record of a zip, which compares its checksum.
func sound(t *testing.T, b []byte) {
	t.Helper()
	z, err := zip.NewReader(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range z.File {
		r, err := f.Open()
		if err == nil {
			_, err = io.Copy(io.Discard, r)
		}
		if err != nil {
			t.Errorf("%s: %v", f.Name, err)
		}
	}
}

func TestNotes(t *testing.T) {
	_, notes, err := next(begin(t), load(t, "models2/checkpoint-100/compressed.pt"), full(t))
	text := strings.Join(notes, "\n")
	if err != nil || !strings.Contains(text, `tensor "gpt_neox.layers.0.input_layernorm.bias": not in the delta`) ||
		!strings.Contains(text, "no codebook") || len(notes) != 2 {
		t.Errorf("%v\n%s", err, text)
	}
}

// What is lost once cannot be the base of what comes later: the model lacks it.
func TestMissingInBase(t *testing.T) {
	delta := load(t, "models2/checkpoint-100/compressed.pt")
	first, _, err := next(begin(t), delta, full(t))
	if err != nil {
		t.Fatal(err)
	}
	renamed := bytes.ReplaceAll(delta, []byte("gpt_neox.layers.0.attention.dense.bias"), []byte("gpt_neox.layers.0.input_layernorm.bias"))
	if _, _, err = next(begin(t), renamed, first); !typed(err, "not in the model") {
		t.Errorf("%v", err)
	}
}

// typed says whether an error is one that means a bad file, for the reason given.
func typed(err error, reason string) bool {
	_, ours := errors.AsType[*FormatError](err)
	_, theirs := errors.AsType[*torchfile.FormatError](err)
	return (ours || theirs) && strings.Contains(err.Error(), reason)
}

func TestBadFiles(t *testing.T) {
	good := load(t, "models/checkpoint-600/compressed.pt")
	swap := func(from, to string) []byte {
		b := bytes.ReplaceAll(good, []byte(from), []byte(to))
		if bytes.Equal(b, good) || len(b) != len(good) {
			t.Fatalf("%s is not replaced", from)
		}
		return b
	}
	for _, c := range []struct {
		reason string
		b      []byte
	}{
		{`unknown key "weights_x"`, swap("weights_i", "weights_x")},
		{`key "opt_v_i" twice`, swap("opt_v_c", "opt_v_i")},
		{"weights_i is I8, not U8", swap("ByteStorage", "CharStorage")},
		{"not in the model", swap("embed_out.weight", "embed_out.weighs")},
		{"not of the form", load(t, "models/checkpoint-500/optimizer.pt")},
		{"not a PyTorch file", load(t, "models/checkpoint-500/model.safetensors")},
		{"not a PyTorch file", good[:len(good)/2]},
	} {
		if _, _, err := next(begin(t), c.b, full(t)); !typed(err, c.reason) {
			t.Errorf("%v, wanted %q", err, c.reason)
		}
	}
}

const embed = "embed_out.weight"

// Each contradiction between a delta, its base and the optimizer's file is told.
func TestContradictions(t *testing.T) {
	for _, c := range []struct {
		reason string
		change func(s *Series, p *[kinds]coded)
	}{
		{"the optimizer's file has no state of it", func(s *Series, p *[kinds]coded) { delete(s.moments, embed) }},
		{"no exp_avg_sq of it", func(s *Series, p *[kinds]coded) { s.moments[embed][expAvgSq].found = false }},
		{"exp_avg is BF16", func(s *Series, p *[kinds]coded) { s.moments[embed][expAvg].DType = tensor.BF16 }},
		{"exp_avg has shape [128 8]", func(s *Series, p *[kinds]coded) { s.moments[embed][expAvg].Shape = []int64{128, 8} }},
		{"begins inside a storage", func(s *Series, p *[kinds]coded) { s.moments[embed][expAvg].Start = 1 }},
		{"part of a storage", func(s *Series, p *[kinds]coded) { s.moments[embed][expAvg].Length++ }},
		{"not contiguous", func(s *Series, p *[kinds]coded) { s.moments[embed][expAvg].Stride = []int64{1, 8} }},
		{"shares its storage", func(s *Series, p *[kinds]coded) { s.moments[embed][expAvgSq] = s.moments[embed][expAvg] }},
		{"the optimizer's file has", func(s *Series, p *[kinds]coded) { s.size++ }},
		{"bytes of labels for exp_avg", func(s *Series, p *[kinds]coded) { p[expAvg].index.Shape = []int64{7} }},
		{"values for the weight", func(s *Series, p *[kinds]coded) { p[weight].values = nil }},
		{"is beyond the codebook of 3", func(s *Series, p *[kinds]coded) { p[expAvg].values = p[expAvg].values[:4] }},
	} {
		s := begin(t)
		d, err := Open(memory(load(t, "models/checkpoint-600/compressed.pt")))
		if err != nil {
			t.Fatal(err)
		}
		c.change(s, d.params[embed])
		var model, optimizer file
		if _, err := s.Reconstruct(context.Background(), d, full(t), &model, &optimizer); !typed(err, c.reason) {
			t.Errorf("%v, wanted %q", err, c.reason)
		}
	}
}

func TestIncomplete(t *testing.T) {
	u8, f32 := torchfile.Tensor{DType: tensor.U8}, torchfile.Tensor{DType: tensor.F32}
	for reason, c := range map[string]coded{
		"no opt_v_i":                {book: u8, found: [2]bool{false, true}},
		"opt_v_i is U8, not F32":    {index: u8, found: [2]bool{true, false}},
		"opt_v_i is F32, not U8":    {index: f32, found: [2]bool{true, true}},
		"opt_v_c is F32, not F16":   {index: u8, book: f32, found: [2]bool{true, true}},
		"codebook opt_v_c of [256]": {index: u8, book: torchfile.Tensor{DType: tensor.F16, Shape: []int64{256}}, found: [2]bool{true, true}},
		"codebook opt_v_c of [0 1]": {index: u8, book: torchfile.Tensor{DType: tensor.F16, Shape: []int64{0, 1}}, found: [2]bool{true, true}},
	} {
		if err := c.complete(bytes.NewReader(nil), "x", expAvg); !typed(err, reason) {
			t.Errorf("%v, wanted %q", err, reason)
		}
	}
}

// Labels of 2, 4 and 8 bits, the first in the high ones.
func TestLabels(t *testing.T) {
	for _, c := range []struct {
		elems int64
		bytes []byte
		want  []float32
	}{
		{8, []byte{0b00_01_10_11, 0b11_00_00_01}, []float32{0, 1, 2, 3, 3, 0, 0, 1}},
		{4, []byte{0x01, 0xf2}, []float32{0, 1, 15, 2}},
		{2, []byte{1, 255}, []float32{1, 255}},
	} {
		x := coded{index: torchfile.Tensor{Shape: []int64{2}}}
		for i := range 256 {
			x.values = append(x.values, float32(i))
		}
		if err := x.fit("x", weight, c.elems); err != nil {
			t.Fatal(err)
		}
		got := make([]float32, c.elems)
		if err := x.read(bytes.NewReader(c.bytes), got, 0, make([]byte, 64)); err != nil || !slices.Equal(got, c.want) {
			t.Errorf("%v, %v, wanted %v", got, err, c.want)
		}
	}
	if err := (&coded{index: torchfile.Tensor{Shape: []int64{3}}, values: []float32{0}}).fit("x", weight, 5); err == nil {
		t.Error("3 bytes of labels for 5 elements")
	}
}

// A checksum that was wrong stays as it was.
func TestChecksums(t *testing.T) {
	c := full(t)
	b := content(t, c.Optimizer)
	s := begin(t)
	m := s.moments[embed][expAvg]
	at := s.sums[m.Offset]
	if len(at) == 0 {
		t.Fatal("no checksum of the moment")
	}
	for _, off := range at {
		if binary.LittleEndian.Uint32(b[off:]) != crc32.ChecksumIEEE(b[m.Offset:m.Offset+m.Length]) {
			t.Fatal("the fixture's checksum is wrong")
		}
		binary.LittleEndian.PutUint32(b[off:], 0x12345678)
	}
	c.Optimizer = memory(b)
	got, _, err := next(s, load(t, "models/checkpoint-600/compressed.pt"), c)
	if err != nil {
		t.Fatal(err)
	}
	out := content(t, got.Optimizer)
	for _, off := range at {
		if x := binary.LittleEndian.Uint32(out[off:]); x != 0x12345678 {
			t.Errorf("checksum at %d is %08x", off, x)
		}
	}
}

// The list of the script for its model, which the paper's parameters give.
func TestNeoX(t *testing.T) {
	list := neoX(24)
	if len(list) != 292 || list[0] != "gpt_neox.embed_in.weight" || list[97] != "embed_out.weight" ||
		list[96] != "gpt_neox.layers.23.mlp.dense_4h_to_h.weight" || list[98] != "gpt_neox.layers.0.input_layernorm.weight" ||
		list[291] != "gpt_neox.final_layer_norm.bias" {
		t.Errorf("%d: %v", len(list), list)
	}
}

// Another model needs a list, and a wrong one is found by its shapes.
func TestOrder(t *testing.T) {
	c := full(t)
	b := content(t, c.Model)
	c.Model = memory(bytes.ReplaceAll(b, []byte("gpt_neox"), []byte("my_model")))
	if _, err := Begin(c, nil); !typed(err, "neither are they those of a GPT-NeoX") {
		t.Errorf("%v", err)
	}
	order := []string{embed, "my_model.layers.0.input_layernorm.weight", "my_model.layers.0.input_layernorm.bias",
		"my_model.layers.0.attention.dense.bias", "my_model.final_layer_norm.weight"}
	delta := bytes.ReplaceAll(load(t, "models/checkpoint-600/compressed.pt"), []byte("gpt_neox"), []byte("my_model"))
	s, err := Begin(c, order)
	if err != nil {
		t.Fatal(err)
	}
	got, _, err := next(s, delta, c)
	if err != nil {
		t.Fatal(err)
	}
	sameTensors(t, content(t, got.Optimizer), load(t, "want/models/checkpoint-600/optimizer.pt"))
	order[0], order[1] = order[1], order[0]
	if s, err = Begin(c, order); err != nil {
		t.Fatal(err)
	}
	if _, _, err := next(s, delta, c); !typed(err, "exp_avg has shape") {
		t.Errorf("%v", err)
	}
	if _, err := Begin(c, []string{embed, embed}); !typed(err, "twice") {
		t.Errorf("%v", err)
	}
}

func TestCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	d, err := Open(memory(load(t, "models/checkpoint-600/compressed.pt")))
	if err != nil {
		t.Fatal(err)
	}
	var model, optimizer file
	if _, err := begin(t).Reconstruct(ctx, d, full(t), &model, &optimizer); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

// Long tensors are worked on in runs; the whole is as the parts.
func TestRuns(t *testing.T) {
	const n = 2*run + 6
	labels := make([]byte, n/2)
	for i := range labels {
		labels[i] = byte(i * 7)
	}
	c := coded{index: torchfile.Tensor{Shape: []int64{n / 2}}, values: []float32{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, float32(math.Inf(1))}}
	if err := c.fit("x", weight, n); err != nil {
		t.Fatal(err)
	}
	st := &step{d: &Delta{r: bytes.NewReader(labels)}}
	seen := 0
	err := st.each(context.Background(), &c, "x", n, newBuffers(), func(x []float32, from int64) error {
		for i, v := range x {
			at := int(from) + i
			if want := labels[at/2] >> (4 * (1 - at%2)) & 15; v != c.values[want] {
				return fmt.Errorf("element %d is %g", at, v)
			}
		}
		seen += len(x)
		return nil
	})
	if err != nil || seen != n {
		t.Errorf("%d of %d: %v", seen, n, err)
	}
}

func FuzzDelta(f *testing.F) {
	for _, name := range deltas {
		f.Add(load(f, name+"/compressed.pt"))
	}
	f.Add(load(f, "models/checkpoint-500/optimizer.pt"))
	s, base := begin(f), full(f)
	weights, err := layoutOf(base.Model)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		c, _, err := next(s, b, base)
		if err != nil {
			if !typed(err, "") {
				t.Fatalf("%T: %v", err, err)
			}
			return
		}
		l, err := safetensors.Parse(c.Model, c.Model.Size)
		if err != nil || c.Optimizer.Size != base.Optimizer.Size {
			t.Fatalf("%d bytes of optimizer, %v", c.Optimizer.Size, err)
		}
		for _, i := range l.Tensors {
			if !slices.Equal(i.Shape, weights[i.Name].Shape) || i.DType != tensor.F32 {
				t.Fatalf("%v", i)
			}
		}
		sound(t, content(t, c.Optimizer))
	})
}
