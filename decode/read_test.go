package decode

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"sync"
	"testing"
	"testing/iotest"

	"excpfs/archive"
	"excpfs/cache"
	"excpfs/codec"
	"excpfs/tensor"
)

var bg = context.Background()

// check compares a whole file, some ranges of it, each tensor, and verifies it.
func (w *world) check(m *made, budget int64) {
	w.t.Helper()
	f := w.open(m, cache.New(budget))
	got := make([]byte, len(m.plain))
	if n, err := f.ReadAt(got, 0); err != nil || n != len(got) {
		w.t.Fatalf("%s: read %d: %v", m.name, n, err)
	}
	if !bytes.Equal(got, m.plain) {
		w.t.Fatalf("%s: decoded to other bytes, from offset %d on", m.name, firstDifference(got, m.plain))
	}
	for range min(5+int(budget>>20), 50) {
		off, n := w.r.IntN(len(m.plain)+10), w.r.IntN(200)
		if w.r.IntN(4) == 0 {
			n = w.r.IntN(3 << 20)
		}
		w.checkRange(f, m, int64(off), n)
	}
	for i, t := range f.Index().Tensors {
		p := make([]byte, t.Length)
		w.must(f.ReadTensor(bg, i, p, 0))
		if !bytes.Equal(p, m.plain[t.Offset:t.Offset+t.Length]) {
			w.t.Errorf("%s: tensor %q differs", m.name, t.Name)
		}
	}
	if err := f.Verify(bg, func(err error) { w.t.Error(err) }); err != nil {
		w.t.Error(err)
	}
	if s := f.set.cache.Stats(); s.Pinned != 0 || s.Bytes > budget {
		w.t.Errorf("%s: cache %+v", m.name, s)
	}
}

func firstDifference(a, b []byte) int {
	for i := range a {
		if a[i] != b[i] {
			return i
		}
	}
	return len(a)
}

func (w *world) checkRange(f *File, m *made, off int64, n int) {
	w.t.Helper()
	want := m.plain[min(off, int64(len(m.plain))):min(off+int64(n), int64(len(m.plain)))]
	s, err := f.ReadSlices(bg, off, n)
	w.must(err)
	got := bytes.Join(s.Bufs, nil)
	if !bytes.Equal(got, want) || len(s.Bufs) > 600 {
		w.t.Errorf("%s: %d+%d: %d slices of other bytes", m.name, off, n, len(s.Bufs))
	}
	s.Release()
}

func TestChainRoundTrip(t *testing.T) {
	for _, d := range []tensor.DType{tensor.F32, tensor.BF16, tensor.F16, tensor.F64} {
		t.Run(d.String(), func(t *testing.T) {
			w := newWorld(t)
			for _, m := range w.chain(2, d, 530, 1021)[1:] {
				w.check(m, 64<<20)
			}
		})
	}
}

func TestDeepChain(t *testing.T) {
	w := newWorld(t)
	ms := w.chain(8, tensor.F32, 300, 1000)
	w.check(ms[4], 4<<20)
	w.check(ms[8], 0) // nothing is ever kept
}

// The weights' chunks are others than the moments' where the widths differ.
func TestMoments(t *testing.T) {
	for _, c := range []struct {
		weight, moment tensor.DType
	}{{tensor.F32, tensor.F32}, {tensor.BF16, tensor.F32}, {tensor.F16, tensor.BF16}, {tensor.F32, tensor.F64}, {tensor.F64, tensor.F16}} {
		t.Run(fmt.Sprintf("%v-%v", c.weight, c.moment), func(t *testing.T) {
			w := newWorld(t)
			m := w.moments(w.chain(2, c.weight, 530, 1021), c.moment)
			w.check(m, 64<<20)
			if c.weight == tensor.BF16 {
				w.check(m, 0)
			}
		})
	}
}

// Moments beside their weights in one file, on a base that is such a file itself.
func TestMomentsOfThisFile(t *testing.T) {
	w := newWorld(t)
	b := w.file("step-0", nil, w.exact("w", tensor.BF16, 530, 1021))
	r := w.residual(b, 0, "w", 0.2)
	first := w.moment("w.exp_avg", tensor.F32, changed(r.plain, b.plain[r.Offset+int64(len("the gap before tensor 0")):][:r.Length], r.DType), 0.4, 530, 1021)
	first.Mask = "w"
	m := w.file("step-1", []archive.Dep{dep(archive.RoleBase, b)}, r, first, w.second("w.exp_avg_sq", 1, first))
	w.check(m, 64<<20)
	// The same moments again: those of the base, whose own mask is found there.
	again := w.file("step-2", []archive.Dep{dep(archive.RoleBase, m)},
		w.residual(m, 0, "w", 0.1), on(m, 0, "w.exp_avg", codec.Same), w.delta(m, 0, "w.exp_avg_sq"))
	w.check(again, 64<<20)
}

// A weight may be stored in any way, and be the same as its base.
func TestMasksOfOtherMethods(t *testing.T) {
	w := newWorld(t)
	b := w.file("base", nil, w.exact("w", tensor.F32, 400, 900), w.exact("v", tensor.F32, 400, 900))
	now := w.file("now", []archive.Dep{dep(archive.RoleBase, b)}, w.delta(b, 0, "w"), on(b, 0, "v", codec.Same))
	// now again, without a base: only the role says what the mask is taken from.
	alone := w.file("alone", nil, w.exact("w", tensor.F32, 400, 900), w.exact("v", tensor.F32, 400, 900))
	for _, home := range []*made{now, alone} {
		deps := []archive.Dep{dep(archive.RoleWeights, home), dep(archive.RoleWeightsBase, b)}
		var parts []*part
		for _, name := range []string{"w", "v"} {
			_, x := home.tensor(name)
			_, y := b.tensor(name)
			p := w.moment("exp_avg."+name, tensor.F32, changed(x, y, tensor.F32), 0.5, 400, 900)
			p.Mask, p.Weights = name, 0
			parts = append(parts, p)
		}
		w.check(w.file("optimizer of "+home.name, deps, parts...), 64<<20)
	}
}

// The role of the weights' base may be missing: then it is that file's own.
func TestWeightsOwnBase(t *testing.T) {
	w := newWorld(t)
	ms := w.chain(1, tensor.F32, 400, 900)
	info, a := ms[1].tensor("w")
	_, b := ms[0].tensor("w")
	p := w.moment("exp_avg.w", tensor.F32, changed(a, b, info.DType), 0.5, 400, 900)
	p.Mask, p.Weights = "w", 0
	w.check(w.file("optimizer", []archive.Dep{dep(archive.RoleWeights, ms[1])}, p), 64<<20)
}

func TestReaderAt(t *testing.T) {
	w := newWorld(t)
	m := w.chain(1, tensor.F16, 40, 70)[1]
	f := w.open(m, cache.New(1<<20))
	if err := iotest.TestReader(io.NewSectionReader(f, 0, f.Size()), m.plain); err != nil {
		t.Error(err)
	}
	for _, c := range []struct {
		off  int64
		n    int
		want int
		err  error
	}{{0, 0, 0, nil}, {f.Size(), 0, 0, nil}, {f.Size(), 1, 0, io.EOF}, {f.Size() - 3, 4, 3, io.EOF}, {f.Size() - 3, 3, 3, nil}, {1 << 62, 8, 0, io.EOF}} {
		if n, err := f.ReadAt(make([]byte, c.n), c.off); n != c.want || err != c.err {
			t.Errorf("%d+%d: %d, %v; want %d, %v", c.off, c.n, n, err, c.want, c.err)
		}
	}
	if _, err := f.ReadAt(make([]byte, 1), -1); err == nil {
		t.Error("a negative offset was read")
	}
	if err := f.ReadTensor(bg, 1, make([]byte, 2), 40*70*2-1); err == nil {
		t.Error("read beyond the end of a tensor")
	}
}

// Thousands of tiny tensors come as few slices.
func TestManySmallTensors(t *testing.T) {
	w := newWorld(t)
	var parts []*part
	for i := range 3000 {
		parts = append(parts, w.exact(fmt.Sprint("step.", i), tensor.F32))
	}
	m := w.file("small", nil, parts...)
	w.check(m, 16<<20)
}

func TestBaseTensor(t *testing.T) {
	w := newWorld(t)
	ms := w.chain(2, tensor.F32, 400, 900)
	f := w.open(ms[2], cache.New(1<<24))
	if f.Base().Name() != ms[1].name || f.Base().Base().Name() != ms[0].name || f.Base().Base().Base() != nil {
		t.Error("the chain is another")
	}
	_, want := ms[1].tensor("w")
	got := make([]byte, len(want)-5)
	if ok, err := f.BaseTensor(bg, 1, got, 5); !ok || err != nil || !bytes.Equal(got, want[5:]) {
		t.Errorf("base of w: %v %v", ok, err)
	}
	if ok, err := f.BaseTensor(bg, 5, got, 0); ok || err != nil {
		t.Errorf("base of a tensor without: %v %v", ok, err)
	}
	f.Base().Close() // does nothing
	if ok, err := f.BaseTensor(bg, 1, got, 5); !ok || err != nil {
		t.Errorf("after closing the base: %v %v", ok, err)
	}
}

// Reading a tensor touches its chunks, its model and those of its bases, each once.
func TestReadsNoMoreThanNeeded(t *testing.T) {
	w := newWorld(t)
	f := w.open(w.chain(2, tensor.F32, 530, 1021)[2], cache.New(1<<26))
	reads := func() (n [3]int64) {
		for i, g := 0, f; g != nil; i, g = i+1, g.Base() {
			n[i] = g.r.Reads()
		}
		return n
	}
	expect := func(what string, want [3]int64) {
		t.Helper()
		if got := reads(); got != want {
			t.Errorf("after %s: %v blocks read, want %v", what, got, want)
		}
	}
	w.must(f.ReadTensor(bg, 1, make([]byte, 10), 0))
	expect("the first bytes", [3]int64{2, 2, 1}) // model and chunk; the chunk of the first is exact
	w.must(f.ReadTensor(bg, 1, make([]byte, 10), 20))
	expect("the same chunk again", [3]int64{2, 2, 1})
	w.must(f.ReadTensor(bg, 1, make([]byte, 530*1021*4), 0))
	expect("the tensor of three chunks", [3]int64{4, 4, 3})
}

func TestMaskIsComputedOnce(t *testing.T) {
	w := newWorld(t)
	f := w.open(w.moments(w.chain(1, tensor.F32, 530, 1021), tensor.F32), cache.New(1<<26))
	read := func(i int) int64 {
		w.must(f.ReadTensor(bg, i, make([]byte, f.ix.Tensors[i].Length), 0))
		return f.deps[0].r.Reads()
	}
	first := read(0)
	if first == 0 {
		t.Error("the weight was never read")
	}
	if second := read(2); second != first {
		t.Errorf("the second moment read %d more blocks of the weight", second-first)
	}
}

func TestConcurrentReadersComputeOnce(t *testing.T) {
	w := newWorld(t)
	m := w.chain(1, tensor.F32, 530, 1021)[1]
	f := w.open(m, cache.New(1<<26))
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			p := make([]byte, f.Size())
			if _, err := f.ReadAt(p, 0); err != nil || !bytes.Equal(p, m.plain) {
				t.Errorf("read: %v", err)
			}
		})
	}
	wg.Wait()
	chunks := int64(0)
	for _, x := range f.ix.Tensors {
		chunks += ChunkCount(x.Info)
	}
	if s := f.set.cache.Stats(); s.Misses != chunks {
		t.Errorf("computed %d chunks of %d", s.Misses, chunks)
	}
}

// Readers of all files of two chains with a cache that holds little of it.
func TestConcurrentReaders(t *testing.T) {
	w := newWorld(t)
	ms := w.chain(3, tensor.BF16, 530, 1021)
	ms = append(ms, w.moments(ms, tensor.F32))
	c := cache.New(4 << 20)
	var wg sync.WaitGroup
	for g := range 6 {
		r := rand.New(rand.NewPCG(uint64(g), 3))
		f, m := w.open(ms[g%len(ms)], c), ms[g%len(ms)]
		wg.Go(func() {
			for range 15 {
				off := r.Int64N(f.Size())
				s, err := f.ReadSlices(bg, off, r.IntN(1<<20))
				if err != nil {
					t.Error(err)
					return
				}
				b := bytes.Join(s.Bufs, nil)
				if !bytes.Equal(b, m.plain[off:off+int64(len(b))]) {
					t.Errorf("%s: other bytes at %d", m.name, off)
				}
				s.Release()
			}
		})
	}
	wg.Wait()
	if s := c.Stats(); s.Pinned != 0 || s.Bytes > 4<<20 {
		t.Errorf("cache %+v", s)
	}
}

func TestCancelledWaiter(t *testing.T) {
	w := newWorld(t)
	f := w.open(w.chain(1, tensor.F32, 530, 1021)[1], cache.New(1<<26))
	ctx, cancel := context.WithCancel(bg)
	cancel()
	// Nobody else computes, so nothing is waited for.
	if err := f.ReadTensor(ctx, 1, make([]byte, 1000), 0); err != nil {
		t.Error(err)
	}
}

func TestSlicesOutliveTheFile(t *testing.T) {
	w := newWorld(t)
	m := w.chain(2, tensor.F32, 300, 1000)[2]
	f, err := w.tryOpen(m, cache.New(1<<20))
	w.must(err)
	s, err := f.ReadSlices(bg, 0, len(m.plain))
	w.must(err)
	w.must(f.Close())
	if o, c := w.opened.Load(), w.closed.Load(); o != 3 || c != 3 {
		t.Errorf("opened %d, closed %d", o, c)
	}
	if !bytes.Equal(bytes.Join(s.Bufs, nil), m.plain) {
		t.Error("slices changed after Close")
	}
	s.Release()
	if _, err := f.ReadAt(make([]byte, 1), 0); !errors.Is(err, os.ErrClosed) {
		t.Errorf("read after Close: %v", err)
	}
}

// Reads that began before Close end well; later ones are told.
func TestCloseWhileReading(t *testing.T) {
	w := newWorld(t)
	m := w.chain(2, tensor.F32, 530, 1021)[2]
	f, err := w.tryOpen(m, cache.New(0))
	w.must(err)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for off := int64(0); ; off = (off + 1<<19) % (f.Size() - 100) {
				s, err := f.ReadSlices(bg, off, 100)
				if errors.Is(err, os.ErrClosed) {
					return
				}
				if err != nil || !bytes.Equal(bytes.Join(s.Bufs, nil), m.plain[off:off+100]) {
					t.Errorf("read at %d: %v", off, err)
				}
				s.Release()
			}
		})
	}
	w.must(f.Close())
	wg.Wait()
	if o, c := w.opened.Load(), w.closed.Load(); o != 3 || c != 3 {
		t.Errorf("opened %d, closed %d", o, c)
	}
}
