package archive

import (
	"bytes"
	"crypto/sha256"
	"math"
	"reflect"
	"testing"

	"excpfs/tensor"
)

// sample is an archive with everything in it: dependencies, masks, own and
// shared supports, a model, inline and ordinary blocks, small and empty tensors.
type sample struct {
	bytes   []byte
	index   *Index
	trailer Trailer
	blocks  map[string][]byte // by tensor name: all block contents, joined
}

var sampleTensors = []struct {
	name   string
	dtype  tensor.DType
	shape  []int64
	gap    int64
	method uint8
	chunks []int // stored bytes
}{
	{"exp_avg.a.weight", tensor.F32, []int64{64, 32}, 40, 4, []int{200, 130}},
	{"exp_avg_sq.a.weight", tensor.F32, []int64{64, 32}, 0, 4, []int{190, 20}},
	{"a.weight", tensor.BF16, []int64{64, 32}, 0, 3, []int{300, 129}},
	{"empty", tensor.I64, []int64{0, 7}, 3, 1, nil},
	{"same", tensor.F16, []int64{100}, 0, 0, nil},
	{"step.a.weight", tensor.F32, nil, 0, 1, []int{5}},
	{"step.b.weight", tensor.F32, nil, 0, 1, []int{5}},
	{"packed", tensor.F4, []int64{6}, 0, 1, []int{0}},
}

func noise(n int, seed byte) []byte {
	p := make([]byte, 0, n+32)
	for h := sha256.Sum256([]byte{seed}); len(p) < n; h = sha256.Sum256(h[:]) {
		p = append(p, h[:]...)
	}
	return p[:n]
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func newSample() *sample {
	s := &sample{blocks: map[string][]byte{}, trailer: Trailer{Plain: FileIdentity{1, 2, 3, 4}, FolderMtime: 5, Ino: 6, HostIno: 7, Btime: -8}}
	var out bytes.Buffer
	w, err := NewWriter(&out)
	must(err)
	ix := &Index{Format: "safetensors", Hash: sha256.Sum256([]byte("decoded"))}
	ix.Summary = Summary{
		ID: ID(ix.Hash[:16]), Depth: 2, Profile: Profile{"excp", 5e-5, 2, 4},
		Deps: []Dep{
			{RoleBase, ID{1, 2}, "run/checkpoint-500/model.safetensors"},
			{RoleWeights, ID{3}, "run/checkpoint-600/model.safetensors"},
			{RoleWeightsBase, ID{1, 2}, ""},
		},
		Error: [3]float64{0.25, 0, math.NaN()},
	}
	for i, st := range sampleTensors {
		ix.Tensors = append(ix.Tensors, s.tensor(w, i))
		ix.Verbatim = append(ix.Verbatim, noise(int(st.gap), byte(i))...)
	}
	ix.Verbatim = append(ix.Verbatim, "end"...)
	ix.Size += 3
	for i := range ix.Tensors {
		t := &ix.Tensors[i]
		t.Offset = ix.Size - 3 + sampleTensors[i].gap
		ix.Size = t.Offset + t.Length + 3
	}
	ix.Schema = ix.Layout().Schema()
	must(w.Finish(ix, s.trailer))
	s.index, s.bytes = ix, out.Bytes()
	return s
}

// tensor appends the blocks of one tensor. Only its offset is still missing.
func (s *sample) tensor(w *Writer, i int) Tensor {
	st := sampleTensors[i]
	t := Tensor{Info: tensor.Info{Name: st.name, DType: st.dtype, Shape: st.shape}, Method: st.method, Base: -1, Weights: -1, Support: -1}
	t.Length = (t.Elems()*int64(st.dtype.Bits()) + 7) / 8
	if t.Length > hashMin {
		t.Hash = [16]byte(noise(16, byte(100+i)))
	}
	block := func(n int) Block {
		p := noise(n, byte(10*i+len(s.blocks[st.name])))
		s.blocks[st.name] = append(s.blocks[st.name], p...)
		b, err := w.Append(p)
		must(err)
		return b
	}
	switch st.name {
	case "exp_avg.a.weight":
		t.Weights, t.Mask, t.Mean, t.Error = 1, "a.weight", 0.125, 0.5
		t.Model = block(44)
	case "exp_avg_sq.a.weight":
		t.Support, t.Mask = 0, "other.weight"
		t.Model = block(150)
	case "a.weight", "same":
		t.Base = 0
	}
	for _, n := range st.chunks {
		t.Chunks = append(t.Chunks, block(n))
	}
	if st.name == "exp_avg.a.weight" {
		t.Supports = []Block{block(140), block(9)}
	}
	return t
}

func open(tb testing.TB, p []byte) *Reader {
	tb.Helper()
	r, err := Open(bytes.NewReader(p), int64(len(p)), "sample.excp")
	if err != nil {
		tb.Fatal(err)
	}
	return r
}

// comparable has the one NaN replaced, which is unequal to itself.
func comparable(ix *Index) *Index {
	c := *ix
	for i, e := range c.Error {
		if e != e {
			c.Error[i] = -1
		}
	}
	return &c
}

func TestRoundTrip(t *testing.T) {
	s := newSample()
	r := open(t, s.bytes)
	if got := r.Index(); !reflect.DeepEqual(comparable(got), comparable(s.index)) {
		t.Errorf("index\n got %+v\nwant %+v", got, s.index)
	}
	if r.Trailer() != s.trailer {
		t.Errorf("trailer %+v, want %+v", r.Trailer(), s.trailer)
	}
	for i := range s.index.Tensors {
		ten := &r.Index().Tensors[i]
		if j, ok := r.Find(ten.Name); !ok || i != j {
			t.Errorf("Find(%q) = %d, %v", ten.Name, j, ok)
		}
		var got, buf []byte
		for b := range ten.blocks() {
			p, err := r.Block(*b, ten.Name, buf)
			if err != nil {
				t.Fatal(err)
			}
			got, buf = append(got, p...), p
		}
		if !bytes.Equal(got, s.blocks[ten.Name]) {
			t.Errorf("%s: blocks differ", ten.Name)
		}
	}
	if _, ok := r.Find("nothing"); ok {
		t.Error("found a tensor that is not there")
	}
	if r.Reads() != 13 {
		t.Errorf("%d reads", r.Reads())
	}
}
