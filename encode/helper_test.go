package encode

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"excpfs/archive"
	"excpfs/cache"
	"excpfs/codec"
	"excpfs/decode"
	"excpfs/safetensors"
	"excpfs/tensor"
)

var excpProfile = archive.Profile{Name: ProfileExcp, Alpha: 1e-3, Beta: 2, Bits: 4}
var exactProfile = archive.Profile{Name: ProfileExact}

// plain is a tensor file in memory.
type plain struct {
	data   []byte
	layout *tensor.Layout
}

// builder makes a plain file with gaps before, between and after its tensors.
type builder struct{ plain }

func newBuilder() *builder {
	b := &builder{plain{layout: &tensor.Layout{Format: "test"}}}
	b.data = append(b.data, "a header"...)
	return b
}

func (b *builder) add(name string, d tensor.DType, shape []int64, payload []byte) *builder {
	if len(b.layout.Tensors)%3 == 1 {
		b.data = append(b.data, "gap"...)
	}
	b.layout.Tensors = append(b.layout.Tensors, tensor.Info{Name: name, DType: d, Shape: shape,
		Offset: int64(len(b.data)), Length: int64(len(payload))})
	b.data = append(b.data, payload...)
	return b
}

func (b *builder) floats(name string, d tensor.DType, shape []int64, x []float64) *builder {
	return b.add(name, d, shape, payload(d, x))
}

func (b *builder) file(t testing.TB) plain {
	t.Helper()
	b.data = append(b.data, "the end"...)
	b.layout.Size = int64(len(b.data))
	if err := b.layout.Check(); err != nil {
		t.Fatal(err)
	}
	return b.plain
}

func payload(d tensor.DType, x []float64) []byte {
	var p []byte
	for _, v := range x {
		switch d {
		case tensor.F64:
			p = binary.LittleEndian.AppendUint64(p, math.Float64bits(v))
		case tensor.F32:
			p = binary.LittleEndian.AppendUint32(p, math.Float32bits(float32(v)))
		default:
			// The codec's own rounding, from a centre for each element.
			one := make([]byte, d.Width())
			if err := codec.ApplyCodebook(one, d, []uint32{0}, []uint8{0}, []float32{float32(v)}); err != nil {
				panic(err)
			}
			p = append(p, one...)
		}
	}
	return p
}

func (p plain) info(name string) tensor.Info {
	for _, t := range p.layout.Tensors {
		if t.Name == name {
			return t
		}
	}
	panic("no tensor " + name)
}

func (p plain) bytes(name string) []byte {
	t := p.info(name)
	return p.data[t.Offset : t.Offset+t.Length]
}

func (p plain) values(name string) []float64 {
	t := p.info(name)
	b := p.bytes(name)
	if t.DType == tensor.F64 {
		x := make([]float64, len(b)/8)
		for i := range x {
			x[i] = math.Float64frombits(binary.LittleEndian.Uint64(b[8*i:]))
		}
		return x
	}
	var x []float64
	for _, v := range codec.Floats(nil, b, t.DType) {
		x = append(x, float64(v))
	}
	return x
}

// shelf resolves archives by id.
type shelf map[archive.ID][]byte

func (s shelf) Archive(id archive.ID, hint string) (*archive.Reader, error) {
	b, ok := s[id]
	if !ok {
		return nil, &archive.MissingError{ID: id, Hint: hint}
	}
	return archive.Open(bytes.NewReader(b), int64(len(b)), hint)
}

// sealed is a plain file that went through an archive.
type sealed struct {
	plain // decoded
	file  *decode.File
	ix    *archive.Index
	bytes int // of the archive
	raw   []byte
}

// input is an Input for p with defaults.
func input(p plain, prof archive.Profile) Input {
	return Input{Name: "test", Src: bytes.NewReader(p.data), Layout: p.layout, Profile: prof, Workers: 2}
}

func encodeBytes(t testing.TB, in Input) ([]byte, *archive.Index) {
	t.Helper()
	var buf bytes.Buffer
	ix := encodeTo(t, &buf, in)
	return buf.Bytes(), ix
}

func encodeTo(t testing.TB, to io.Writer, in Input) *archive.Index {
	t.Helper()
	w, err := archive.NewWriter(to)
	if err != nil {
		t.Fatal(err)
	}
	ix, err := Encode(context.Background(), in, w)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Finish(ix, archive.Trailer{}); err != nil {
		t.Fatal(err)
	}
	return ix
}

// seal encodes, decodes, and has the archive verify itself: its hashes are those
// of the encoder's reconstruction.
func (s shelf) seal(t testing.TB, in Input) sealed {
	t.Helper()
	raw, ix := encodeBytes(t, in)
	s[ix.ID] = raw
	r, err := s.Archive(ix.ID, "test")
	if err != nil {
		t.Fatal(err)
	}
	f, err := decode.Open(r, s, cache.New(64<<20))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	if err := f.Verify(context.Background(), func(err error) { t.Error(err) }); err != nil {
		t.Fatal(err)
	}
	data := make([]byte, f.Size())
	if n, err := f.ReadAt(data, 0); n < len(data) {
		t.Fatal(err)
	}
	return sealed{plain{data, in.Layout}, f, ix, len(raw), raw}
}

func (s sealed) tensor(name string) *archive.Tensor {
	for i := range s.ix.Tensors {
		if s.ix.Tensors[i].Name == name {
			return &s.ix.Tensors[i]
		}
	}
	panic("no tensor " + name)
}

// model is a fixture: weights of a base and of a later step with the moments, in
// which columns differ in scale as in real training.
type model struct{ base, weights, moments plain }

type shaped struct {
	name  string
	shape []int64
}

var shapes = []shaped{
	{"embed", []int64{300, 64}},
	{"conv", []int64{16, 8, 5, 7}},
	{"norm", []int64{130}},
	{"small", []int64{10, 9}},
	{"tall", []int64{5000, 3}},
}

func noise(r *rand.Rand, n int, scale float64) []float64 {
	x := make([]float64, n)
	for i := range x {
		x[i] = r.NormFloat64() * scale * math.Exp2(float64(i%7)/3)
	}
	return x
}

func plus(a, b []float64) []float64 {
	c := make([]float64, len(a))
	for i := range a {
		c[i] = a[i] + b[i]
	}
	return c
}

func newModel(t testing.TB, d, dm tensor.DType, seed uint64) model {
	r := rand.New(rand.NewPCG(seed, 1))
	base, next, mom := newBuilder(), newBuilder(), newBuilder()
	for _, s := range shapes {
		n64, _ := tensor.Product(s.shape)
		n := int(n64)
		w := noise(r, n, 0.1)
		base.floats(s.name, d, s.shape, w)
		next.floats(s.name, d, s.shape, plus(w, noise(r, n, 0.005)))
	}
	for _, s := range shapes {
		n64, _ := tensor.Product(s.shape)
		n := int(n64)
		m := noise(r, n, 1e-4)
		v := make([]float64, n)
		for i := range v {
			v[i] = m[i]*m[i] + math.Abs(r.NormFloat64())*1e-8
		}
		if n > 100 {
			v[17], m[40], v[40] = 0, 0, 0
		}
		mom.floats("exp_avg."+s.name, dm, s.shape, m)
		mom.floats("exp_avg_sq."+s.name, dm, s.shape, v)
		mom.floats("step."+s.name, tensor.F32, nil, []float64{600})
	}
	step := binary.LittleEndian.AppendUint64(nil, 600)
	return model{base.file(t), next.add("steps", tensor.I64, nil, step).file(t), mom.file(t)}
}

// join makes one file of two.
func join(t testing.TB, a, b plain) plain {
	out := newBuilder()
	for _, p := range []plain{a, b} {
		for _, i := range p.layout.Tensors {
			out.add(i.Name, i.DType, i.Shape, p.bytes(i.Name))
		}
	}
	return out.file(t)
}

// chain finds the real checkpoints, or skips the test.
func chain(t testing.TB, path string) plain {
	t.Helper()
	dir := os.Getenv("EXCPFS_SHARED")
	if dir == "" {
		dir = filepath.Join("..", "..", "shared")
	}
	data, err := os.ReadFile(filepath.Join(dir, "chain", path))
	if err != nil {
		t.Skipf("SKIPPED: no real checkpoints: %v", err)
	}
	l, err := safetensors.Parse(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	return plain{data, l}
}
