package decode

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"sync/atomic"
	"testing"

	"excpfs/archive"
	"excpfs/cache"
	"excpfs/codec"
	"excpfs/tensor"
)

// made is an archive in memory and the file it stands for.
type made struct {
	id      archive.ID
	name    string
	archive []byte
	plain   []byte
	index   *archive.Index
}

// part is a tensor to write: its plain bytes are known, and how to store them.
type part struct {
	archive.Tensor
	plain  []byte
	base   []byte // of Delta
	coded  []bool // by element: in the support
	sym    []uint8
	domain []bool // where the support is nested
}

// world makes archives and finds them again.
type world struct {
	t      testing.TB
	r      *rand.Rand
	files  map[archive.ID]*made
	opened atomic.Int64
	closed atomic.Int64
}

func newWorld(t testing.TB) *world {
	return &world{t: t, r: rand.New(rand.NewPCG(1, 2)), files: map[archive.ID]*made{}}
}

// source counts what is open.
type source struct {
	io.ReaderAt
	w *world
}

func (s source) Close() error { s.w.closed.Add(1); return nil }

func (w *world) reader(m *made) (*archive.Reader, error) {
	r, err := archive.Open(source{bytes.NewReader(m.archive), w}, int64(len(m.archive)), m.name)
	if err == nil {
		w.opened.Add(1)
	}
	return r, err
}

func (w *world) Archive(id archive.ID, hint string) (*archive.Reader, error) {
	m, ok := w.files[id]
	if !ok {
		return nil, &archive.MissingError{ID: id}
	}
	return w.reader(m)
}

func (w *world) open(m *made, c *cache.Cache) *File {
	w.t.Helper()
	f, err := w.tryOpen(m, c)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { f.Close() })
	return f
}

func (w *world) tryOpen(m *made, c *cache.Cache) (*File, error) {
	r, err := w.reader(m)
	if err != nil {
		return nil, err
	}
	return Open(r, w, c)
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func dep(role archive.Role, m *made) archive.Dep {
	return archive.Dep{Role: role, ID: m.id, Hint: m.name}
}

// tensor returns the plain bytes of a tensor of m.
func (m *made) tensor(name string) (tensor.Info, []byte) {
	for _, t := range m.index.Tensors {
		if t.Name == name {
			return t.Info, m.plain[t.Offset : t.Offset+t.Length]
		}
	}
	panic(name)
}

func newPart(name string, d tensor.DType, shape ...int64) *part {
	p := &part{Tensor: archive.Tensor{Info: tensor.Info{Name: name, DType: d, Shape: shape}, Base: -1, Weights: -1, Support: -1}}
	p.Length = (p.Elems()*int64(d.Bits()) + 7) / 8
	p.plain = make([]byte, p.Length)
	return p
}

// exact is a tensor of random values, without base.
func (w *world) exact(name string, d tensor.DType, shape ...int64) *part {
	p := newPart(name, d, shape...)
	p.Method = uint8(codec.Exact)
	if d == tensor.F32 {
		w.normal(p.plain)
		return p
	}
	for i := range p.plain {
		p.plain[i] = byte(w.r.Uint32())
	}
	if d.Lossy() { // its bytes are symbols, then, of a table of normal numbers
		sym := bytes.Clone(p.plain[:p.Elems()])
		pos := make([]uint32, len(sym))
		for i := range pos {
			pos[i] = uint32(i)
		}
		centres := make([]float32, 256)
		for i := range centres {
			centres[i] = float32(w.r.NormFloat64() * 0.02)
		}
		w.must(codec.ApplyCodebook(p.plain, d, pos, sym, centres))
	}
	return p
}

// normal fills p with floats as weights are.
func (w *world) normal(p []byte) {
	for i := 0; i < len(p); i += 4 {
		binary.LittleEndian.PutUint32(p[i:], math.Float32bits(float32(w.r.NormFloat64()*0.02)))
	}
}

// on makes a part with a base, whose file is dependency i.
func on(m *made, i int, name string, method codec.Method) *part {
	t, b := m.tensor(name)
	p := newPart(name, t.DType, t.Shape...)
	p.Method, p.Base = uint8(method), i
	copy(p.plain, b)
	return p
}

func (w *world) delta(m *made, i int, name string) *part {
	p := on(m, i, name, codec.Delta)
	p.base = bytes.Clone(p.plain)
	for k := range p.plain {
		if w.r.IntN(7) == 0 {
			p.plain[k] += byte(w.r.IntN(3))
		}
	}
	return p
}

var testCentres = []float32{-0.02, -0.01, -0.004, 0.003, 0.008, 0.015, 0.03}

// residual changes some elements; their share is density.
func (w *world) residual(m *made, i int, name string, density float64) *part {
	p := on(m, i, name, codec.Residual)
	w.choose(p, density)
	w.must(codec.ApplyResidual(p.plain, p.DType, p.positions(), p.symbols(), testCentres))
	return p
}

// moment is a codebook tensor, nested where domain is not nil.
func (w *world) moment(name string, d tensor.DType, domain []bool, density float64, shape ...int64) *part {
	p := newPart(name, d, shape...)
	p.Method, p.domain = uint8(codec.Codebook), domain
	w.choose(p, density)
	w.must(codec.ApplyCodebook(p.plain, d, p.positions(), p.symbols(), testCentres))
	return p
}

// second is a moment that shares the support of tensor i of its file.
func (w *world) second(name string, i int, first *part) *part {
	p := newPart(name, first.DType, first.Shape...)
	p.Method, p.Support, p.coded = uint8(codec.Codebook), i, first.coded
	p.sym = make([]uint8, len(first.sym))
	for k := range p.sym {
		p.sym[k] = uint8(w.r.IntN(len(testCentres)))
	}
	w.must(codec.ApplyCodebook(p.plain, p.DType, p.positions(), p.symbols(), testCentres))
	return p
}

func (w *world) choose(p *part, density float64) {
	n := int(p.Elems())
	p.coded, p.sym = make([]bool, n), make([]uint8, n)
	for i := range n {
		if p.domain != nil && !p.domain[i] {
			continue
		}
		// A run of chunks without coded elements is part of the test.
		if w.r.Float64() < density && i < n*9/10 {
			p.coded[i], p.sym[i] = true, uint8(w.r.IntN(len(testCentres)))
		}
	}
}

func (p *part) positions() (pos []uint32) {
	for i, c := range p.coded {
		if c {
			pos = append(pos, uint32(i))
		}
	}
	return pos
}

func (p *part) symbols() (sym []uint8) {
	for i, c := range p.coded {
		if c {
			sym = append(sym, p.sym[i])
		}
	}
	return sym
}

// changed compares two tensors element by element.
func changed(a, b []byte, d tensor.DType) []bool {
	n := d.Width()
	out := make([]bool, len(a)/n)
	for i := range out {
		out[i] = !bytes.Equal(a[i*n:i*n+n], b[i*n:i*n+n])
	}
	return out
}

// file writes an archive with a verbatim gap before every other tensor and at the end.
func (w *world) file(name string, deps []archive.Dep, parts ...*part) *made {
	w.t.Helper()
	var out bytes.Buffer
	a, err := archive.NewWriter(&out)
	w.must(err)
	m := &made{name: name, index: &archive.Index{Format: "safetensors"}}
	ix := m.index
	ix.Deps, ix.Profile = deps, archive.Profile{Name: "excp", Alpha: 5e-5, Beta: 2, Bits: 4}
	gap := func(s string) {
		ix.Verbatim, m.plain = append(ix.Verbatim, s...), append(m.plain, s...)
	}
	for i, p := range parts {
		if i%2 == 0 {
			gap(fmt.Sprintf("the gap before tensor %d", i))
		}
		p.Offset = int64(len(m.plain))
		m.plain = append(m.plain, p.plain...)
		w.must(p.write(a))
		ix.Tensors = append(ix.Tensors, p.Tensor)
	}
	gap("the end of " + name)
	ix.Hash = sha256.Sum256(m.plain)
	ix.ID = archive.ID(ix.Hash[:16])
	ix.Size = int64(len(m.plain))
	ix.Schema = ix.Layout().Schema()
	if len(deps) > 0 {
		for _, d := range deps {
			if f, ok := w.files[d.ID]; ok {
				ix.Depth = max(ix.Depth, f.index.Depth+1)
			}
		}
		ix.Depth = max(ix.Depth, 1)
	}
	w.must(a.Finish(ix, archive.Trailer{}))
	m.id, m.archive = ix.ID, out.Bytes()
	w.files[m.id] = m
	return m
}

// write appends the blocks of a part.
func (p *part) write(a *archive.Writer) (err error) {
	if p.Length > hashedLength {
		h := sha256.Sum256(p.plain)
		p.Hash = [16]byte(h[:16])
	}
	put := func(b []byte) archive.Block {
		blk, e := a.Append(b)
		err = errors.Join(err, e)
		return blk
	}
	p.Chunks, p.Supports, p.Model = nil, nil, archive.Block{}
	switch codec.Method(p.Method) {
	case codec.Exact, codec.Delta:
		for from, to := range p.chunks() {
			var base []byte
			if p.base != nil {
				base = p.base[from:to]
			}
			p.Chunks = append(p.Chunks, put(codec.EncodeExact(nil, p.plain[from:to], base, p.DType)))
		}
	case codec.Residual, codec.Codebook:
		p.quantized(put)
	}
	return err
}

func (p *part) chunks() func(yield func(from, to int64) bool) {
	return func(yield func(from, to int64) bool) {
		s := codec.ChunkElems(p.DType, p.Shape) * int64(p.DType.Width())
		for at := int64(0); at < p.Length; at += s {
			if !yield(at, min(at+s, p.Length)) {
				return
			}
		}
	}
}

// quantized writes the blocks of a residual or a moment.
func (p *part) quantized(put func([]byte) archive.Block) {
	g := codec.GridOf(p.Shape)
	counts, spread := codec.NewCounts(g, p.domain != nil), codec.NewSpread(g)
	width := int64(p.DType.Width())
	for from, to := range p.chunks() {
		start, n := from/width, int((to-from)/width)
		x := make([]float32, n)
		for i := range x {
			x[i] = testCentres[p.sym[int(start)+i]]
		}
		mask := bitmap(p.coded, start, n)
		counts.Add(start, n, mask, bitmap(p.domain, start, n))
		spread.Add(start, x, mask)
	}
	support, values := codec.FitSupport(g, counts), codec.FitValues(g, spread)
	model := codec.AppendCodebook(nil, testCentres)
	if p.Support < 0 {
		model = support.Append(model)
	}
	p.Model = put(values.Append(model))
	for from, to := range p.chunks() {
		p.chunk(put, support, values, from/width, int((to-from)/width))
	}
}

func (p *part) chunk(put func([]byte) archive.Block, support *codec.Support, values *codec.Values, start int64, n int) {
	mask := bitmap(p.coded, start, n)
	var pos []uint32
	var sym []uint8
	for i := range n {
		if mask.Get(i) {
			pos, sym = append(pos, uint32(i)), append(sym, p.sym[int(start)+i])
		}
	}
	var sp, vp []byte
	if len(pos) > 0 {
		domain := bitmap(p.domain, start, n)
		sp = support.Encode(nil, start, n, mask, domain)
		if order, err := support.Decode(nil, sp, start, n, domain); err == nil {
			for i, q := range order { // Values codes in this order
				sym[i] = p.sym[start+int64(q)]
			}
			pos = order
		}
		vp = values.Encode(nil, start, pos, sym)
	}
	switch {
	case codec.Method(p.Method) == codec.Residual && len(pos) > 0:
		p.Chunks = append(p.Chunks, put(append(append(binary.AppendUvarint(nil, uint64(len(sp))), sp...), vp...)))
	case codec.Method(p.Method) == codec.Residual:
		p.Chunks = append(p.Chunks, put(nil))
	default:
		if p.Support < 0 {
			p.Supports = append(p.Supports, put(sp))
		}
		p.Chunks = append(p.Chunks, put(vp))
	}
}

func bitmap(on []bool, start int64, n int) codec.Bitmap {
	if on == nil {
		return nil
	}
	b := codec.NewBitmap(n)
	for i := range n {
		if on[int(start)+i] {
			b.Set(i)
		}
	}
	return b
}

// chain makes a chain of weights of the given depth, newest last. Small tensors
// of other types lie between.
func (w *world) chain(depth int, d tensor.DType, shape ...int64) []*made {
	ms := []*made{w.file("step-0", nil,
		w.exact("norm", d, 100), w.exact("w", d, shape...), w.exact("ids", tensor.I64, 40), w.exact("same", d, 50, 40),
		newEmpty(), w.exact("scalar", tensor.F32))}
	for i := range depth {
		b := ms[i]
		ms = append(ms, w.file(fmt.Sprintf("step-%d", i+1), []archive.Dep{dep(archive.RoleBase, b)},
			w.delta(b, 0, "norm"), w.residual(b, 0, "w", 0.1), w.delta(b, 0, "ids"), on(b, 0, "same", codec.Same),
			newEmpty(), w.exact("scalar", tensor.F32)))
	}
	return ms
}

func newEmpty() *part {
	p := newPart("empty", tensor.F32, 0, 3)
	p.Method = uint8(codec.Exact)
	return p
}

// moments makes the optimizer's file of weights ms[len-1] on ms[len-2].
func (w *world) moments(ms []*made, d tensor.DType) *made {
	now, before := ms[len(ms)-1], ms[len(ms)-2]
	info, a := now.tensor("w")
	_, b := before.tensor("w")
	m := w.moment("exp_avg.w", d, changed(a, b, info.DType), 0.5, info.Shape...)
	m.Mask, m.Weights = "w", 0
	plain := w.moment("exp_avg.norm", d, nil, 0.3, 100)
	return w.file("optimizer", []archive.Dep{dep(archive.RoleWeights, now), dep(archive.RoleWeightsBase, before)},
		m, plain, w.second("exp_avg_sq.w", 0, m), w.second("exp_avg_sq.norm", 1, plain), w.exact("step.w", tensor.F32))
}
