package archive

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"testing"

	"excpfs/tensor"
)

// optimizerIndex is an archive like that of a small model's optimizer state: 3 n tensors
// of layers with their moments and step counters. It returns the archive and the bytes of its payloads.
func optimizerIndex(tb testing.TB, n int) (archive []byte, payload int) {
	var out bytes.Buffer
	w, err := NewWriter(&out)
	must(err)
	rnd := rand.New(rand.NewPCG(1, 2))
	var names []string
	for _, kind := range []string{"exp_avg", "exp_avg_sq", "step"} {
		for i := range n {
			names = append(names, fmt.Sprintf("%s.gpt_neox.layers.%d.%s", kind, i/4,
				[]string{"attention.dense.bias", "attention.dense.weight", "mlp.dense_4h_to_h.bias", "mlp.dense_4h_to_h.weight"}[i%4]))
		}
	}
	ix := &Index{Format: "safetensors", Hash: sha256.Sum256(nil)}
	ix.ID = ID(ix.Hash[:16])
	ix.Deps = []Dep{{RoleWeights, ID{9}, "checkpoint-500/model.safetensors"}}
	block := func(n int) Block {
		p := make([]byte, n)
		for i := range p {
			p[i] = byte(rnd.Uint32())
		}
		if n == 5 {
			copy(p, "\x01\x00\x00\xfa\x43") // a step counter
		}
		payload += n
		b, err := w.Append(p)
		must(err)
		return b
	}
	header := []byte("12345678{")
	at := int64(0)
	for i, name := range names {
		t := Tensor{Info: tensor.Info{Name: name, DType: tensor.F32}, Method: 4, Base: -1, Weights: 0, Support: -1}
		if i < 2*n {
			t.Shape = []int64{[]int64{128, 128 * 128, 128, 512 * 128}[i%4]}
			t.Mask, t.Mean, t.Error = name[len("exp_avg."):], rnd.Float64(), rnd.Float64()
			if i >= n {
				t.Mask, t.Support = name[len("exp_avg_sq."):], i-n
			}
			t.Model = block(90)
			t.Hash = [16]byte(noise(16, byte(i)))
		}
		t.Length = t.Elems() * 4
		t.Chunks = []Block{block(map[bool]int{true: 5, false: int(t.Length/50) + 40}[t.Length == 4])}
		header = fmt.Appendf(header, `%q:{"dtype":"F32","shape":%v,"data_offsets":[%d,%d]},`, name, t.Shape, at, at+t.Length)
		t.Offset = at
		at += t.Length
		ix.Tensors = append(ix.Tensors, t)
	}
	for i := range ix.Tensors {
		ix.Tensors[i].Offset += int64(len(header))
	}
	ix.Verbatim, ix.Size = append(header[:len(header)-1], '}'), at+int64(len(header))
	ix.Schema = ix.Layout().Schema()
	must(w.Finish(ix, Trailer{}))
	return out.Bytes(), payload
}

// A tensor costs few bytes beyond its payloads: 16 of hash, 8 of figures, 4 for each block's checksum among them.
func TestOverhead(t *testing.T) {
	const n = 64
	p, payload := optimizerIndex(t, n)
	r := open(t, p)
	each := float64(len(p)-payload) / (3 * n)
	t.Logf("%d bytes, %d of payload, %d tensors: %.1f bytes each", len(p), payload, len(r.Index().Tensors), each)
	if each > 24 {
		t.Errorf("%.1f bytes each", each)
	}
}

func BenchmarkOpen(b *testing.B) {
	p, _ := optimizerIndex(b, 3000)
	b.ReportAllocs()
	for b.Loop() {
		open(b, p)
	}
}
