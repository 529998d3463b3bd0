package decode

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"testing"

	"excpfs/archive"
	"excpfs/cache"
	"excpfs/tensor"
)

// flip breaks one byte of a block, in a copy.
func (m *made) flip(b archive.Block) *made {
	c := *m
	c.archive = bytes.Clone(m.archive)
	c.archive[b.Offset+int64(b.Length)/2] ^= 0x10
	return &c
}

func TestDamageConcernsOneTensor(t *testing.T) {
	w := newWorld(t)
	ms := w.chain(2, tensor.F32, 530, 1021)
	last := ms[2]
	at := slices.IndexFunc(last.index.Tensors, func(t archive.Tensor) bool { return t.Name == "w" })
	broken := last.flip(last.index.Tensors[at].Chunks[1])
	f := w.open(broken, cache.New(1<<26))
	for i, x := range last.index.Tensors {
		p := make([]byte, x.Length)
		err := f.ReadTensor(bg, i, p, 0)
		var damage *archive.DamageError
		switch {
		case i != at && (err != nil || !bytes.Equal(p, last.plain[x.Offset:x.Offset+x.Length])):
			t.Errorf("tensor %q: %v", x.Name, err)
		case i == at && (!errors.As(err, &damage) || damage.Tensor != "w" || damage.Offset != x.Chunks[1].Offset || damage.File != last.name):
			t.Errorf("tensor %q: got %v", x.Name, err)
		}
	}
	// Its other chunks can be read.
	off, n := chunkRange(last.index.Tensors[at].Info, 2)
	p := make([]byte, n)
	w.must(f.ReadTensor(bg, at, p, off))
	if from := last.index.Tensors[at].Offset + off; !bytes.Equal(p, last.plain[from:from+n]) {
		t.Error("the last chunk differs")
	}
	var faults []error
	var begun atomic.Int64
	begin := func() { begun.Add(1) }
	err := f.VerifyWith(bg, 3, begin, func(err error) { faults = append(faults, err) })
	if len(faults) != 1 || faults[0] != err {
		t.Errorf("verify found %v and returned %v", faults, err)
	}
	if begun.Load() != 3 {
		t.Errorf("%d workers began", begun.Load())
	}
}

// A sound archive whose hashes are of something else.
func TestVerifyComparesHashes(t *testing.T) {
	w := newWorld(t)
	parts := []*part{w.exact("a", tensor.F32, 100), w.exact("tiny", tensor.F32, 3), w.exact("c", tensor.F32, 50)}
	m := w.file("f", nil, parts...)
	f := w.open(m, cache.New(1<<20))
	f.ix.Tensors[0].Hash[3] ^= 1
	f.ix.Tensors[1].Hash[3] ^= 1 // too short to have one
	f.ix.Hash[20] ^= 1
	var names []string
	f.Verify(bg, func(err error) { names = append(names, err.(*archive.DamageError).Tensor) })
	if !slices.Equal(names, []string{"a"}) {
		t.Errorf("faults in %q", names)
	}
	f.ix.Tensors[0].Hash[3] ^= 1
	names = nil
	f.Verify(bg, func(err error) { names = append(names, err.(*archive.DamageError).Tensor) })
	if !slices.Equal(names, []string{""}) {
		t.Errorf("faults in %q", names)
	}
}

// What others decoded from a sound copy is not taken for this one.
func TestVerifyLooksAtTheArchive(t *testing.T) {
	w := newWorld(t)
	m := w.chain(1, tensor.F32, 400, 500)[1]
	c := cache.New(1 << 26)
	p := make([]byte, len(m.plain))
	_, err := w.open(m, c).ReadAt(p, 0)
	w.must(err)
	f := w.open(m.flip(m.index.Tensors[1].Chunks[0]), c)
	if err := f.Verify(bg, func(error) {}); err == nil {
		t.Error("nothing found")
	}
}

func TestVerifyEndsWithItsContext(t *testing.T) {
	w := newWorld(t)
	f := w.open(w.chain(1, tensor.F32, 400, 500)[1], cache.New(1<<20))
	ctx, cancel := context.WithCancel(bg)
	cancel()
	err := f.Verify(ctx, func(err error) { t.Errorf("reported %v", err) })
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

// Whatever is changed in an archive: an error, or the right bytes. Never others, never a panic.
func FuzzNoise(f *testing.F) {
	w := newWorld(f)
	ms := w.chain(1, tensor.BF16, 90, 70)
	victim := w.moments(ms, tensor.F32)
	f.Add(0, uint32(200), byte(1))
	f.Add(1, uint32(300), byte(0x80))
	f.Add(2, uint32(500), byte(0xff))
	f.Add(2, uint32(len(victim.archive)-300), byte(2))
	f.Fuzz(func(t *testing.T, which int, at uint32, x byte) {
		all := append(slices.Clone(ms), victim)
		i := int(uint(which) % uint(len(all)))
		bad := *all[i]
		bad.archive = bytes.Clone(bad.archive)
		bad.archive[int(at)%len(bad.archive)] ^= x
		w2 := &world{t: t, files: map[archive.ID]*made{}}
		for j, m := range all {
			if j == i {
				m = &bad
			}
			w2.files[m.id] = m
		}
		g, err := w2.tryOpen(w2.files[victim.id], cache.New(1<<20))
		if err != nil {
			return
		}
		defer g.Close()
		compareTensors(t, g, victim)
	})
}

func compareTensors(t *testing.T, g *File, m *made) {
	for i, x := range m.index.Tensors {
		p := make([]byte, x.Length)
		if err := g.ReadTensor(bg, i, p, 0); err == nil && !bytes.Equal(p, m.plain[x.Offset:x.Offset+x.Length]) {
			t.Errorf("tensor %q decoded to other bytes", x.Name)
		}
	}
}

// Noise behind a checksum that matches, as from a faulty encoder: no panic, and
// the hash of the tensor tells unless the bytes are right.
func FuzzPayload(f *testing.F) {
	w := newWorld(f)
	ms := w.chain(1, tensor.F32, 40, 70)
	optimizer := w.moments(ms, tensor.F32)
	for _, m := range []*made{ms[1], optimizer} {
		for i := range m.index.Tensors {
			for kind := range 3 {
				f.Add(m == optimizer, i, kind, []byte{1, 2, 3})
			}
		}
	}
	blocks := map[*made][][]byte{ms[1]: w.blocks(ms[1]), optimizer: w.blocks(optimizer)}
	for m, bs := range blocks {
		for i, b := range bs {
			f.Add(m == optimizer, i/3, i%3, b)
		}
	}
	f.Fuzz(func(t *testing.T, second bool, i, kind int, payload []byte) {
		m := ms[1]
		if second {
			m = optimizer
		}
		bad := w.replace(t, m, int(uint(i)%uint(len(m.index.Tensors))), int(uint(kind)%3), payload)
		if bad == nil {
			return
		}
		w2 := &world{t: t, files: w.files}
		g, err := w2.tryOpen(bad, cache.New(1<<20))
		if err != nil {
			t.Fatal(err)
		}
		defer g.Close()
		right := make([]byte, len(m.plain))
		_, readErr := g.ReadAt(right, 0)
		verifyErr := g.Verify(bg, func(error) {})
		if same := readErr == nil && bytes.Equal(right, m.plain); same != (verifyErr == nil) {
			t.Errorf("right bytes: %v, but verify says %v", same, verifyErr)
		}
	})
}

// blocks reads model, first chunk and first support of each tensor.
func (w *world) blocks(m *made) (out [][]byte) {
	r, err := w.reader(m)
	w.must(err)
	for _, t := range m.index.Tensors {
		for kind := range 3 {
			b, err := r.Block(*blockOf(&t, kind), t.Name, nil)
			w.must(err)
			out = append(out, b)
		}
	}
	return out
}

func blockOf(t *archive.Tensor, kind int) *archive.Block {
	switch {
	case kind == 1 && len(t.Chunks) > 0:
		return &t.Chunks[0]
	case kind == 2 && len(t.Supports) > 0:
		return &t.Supports[0]
	}
	return &t.Model
}

// replace copies an archive with one block changed.
func (w *world) replace(t *testing.T, m *made, i, kind int, payload []byte) *made {
	r, err := archive.Open(bytes.NewReader(m.archive), int64(len(m.archive)), m.name)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	a, err := archive.NewWriter(&out)
	if err != nil {
		t.Fatal(err)
	}
	ix := *r.Index()
	ix.Tensors = slices.Clone(ix.Tensors)
	for j := range ix.Tensors {
		x := &ix.Tensors[j]
		x.Chunks, x.Supports = slices.Clone(x.Chunks), slices.Clone(x.Supports)
		for _, b := range append(pointers(x.Chunks), append(pointers(x.Supports), &x.Model)...) {
			p, err := r.Block(*b, x.Name, nil)
			if err != nil {
				t.Fatal(err)
			}
			if j == i && b == blockOf(x, kind) {
				p = payload
			}
			if *b, err = a.Append(p); err != nil {
				t.Fatal(err)
			}
		}
	}
	if a.Finish(&ix, archive.Trailer{}) != nil {
		return nil
	}
	return &made{id: m.id, name: m.name, archive: out.Bytes(), plain: m.plain, index: &ix}
}

func pointers(bs []archive.Block) (out []*archive.Block) {
	for i := range bs {
		out = append(out, &bs[i])
	}
	return out
}
