package encode

import (
	"encoding/binary"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"excpfs/archive"
	"excpfs/cache"
	"excpfs/decode"
	"excpfs/tensor"
)

// generated is a file of float32 that is nowhere in memory.
type generated struct{ seed uint32 }

func (g generated) ReadAt(p []byte, off int64) (int, error) {
	for i := 0; i+4 <= len(p); i += 4 {
		x := uint32(off/4) + uint32(i/4)
		a, b := x*2654435761, (x+g.seed)*2246822519
		f := float32(int32(a))/(1<<31) + 0.01*float32(g.seed)*float32(int32(b>>3*b>>5))/(1<<31)
		binary.LittleEndian.PutUint32(p[i:], math.Float32bits(f))
	}
	return len(p), nil
}

// TestMemory encodes large tensors: what is in use stays within a budget that their
// size has no part in.
func TestMemory(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIPPED: takes seconds")
	}
	const n = 24 << 20      // elements
	const limit = 128 << 20 // with what is not yet collected
	layout := func(names ...string) *tensor.Layout {
		l := &tensor.Layout{Format: "test"}
		for _, name := range names {
			l.Tensors = append(l.Tensors, tensor.Info{Name: name, DType: tensor.F32, Shape: []int64{n / 4096, 4096}, Offset: l.Size, Length: 4 * n})
			l.Size += 4 * n
		}
		return l
	}
	path := filepath.Join(t.TempDir(), "base")
	toFile(t, path, Input{Name: "base", Src: generated{0}, Layout: layout("w"), Profile: excpProfile, Workers: 2})
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	st, _ := f.Stat()
	r, err := archive.Open(f, st.Size(), path)
	if err != nil {
		t.Fatal(err)
	}
	base, err := decode.Open(r, shelf{}, cache.New(8<<20))
	if err != nil {
		t.Fatal(err)
	}
	defer base.Close()

	peak := watchHeap()
	toFile(t, path+"2", Input{Name: "next", Src: generated{7}, Layout: layout("exp_avg.w", "exp_avg_sq.w", "w"), Profile: excpProfile, Base: base, Workers: 2})
	if got := peak(); got > limit {
		t.Errorf("%d MiB in use", got>>20)
	} else {
		t.Logf("%d MiB in use", got>>20)
	}
}

func toFile(t *testing.T, path string, in Input) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	encodeTo(t, f, in)
}

// watchHeap samples what is live and not yet collected, until the answer is called.
func watchHeap() func() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	before := m.HeapAlloc
	var peak atomic.Uint64
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-stop:
				return
			case <-time.After(20 * time.Millisecond):
				runtime.ReadMemStats(&m)
				peak.Store(max(peak.Load(), m.HeapAlloc-min(m.HeapAlloc, before)))
			}
		}
	}()
	return func() uint64 { close(stop); <-done; return peak.Load() }
}
