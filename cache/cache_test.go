package cache

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

var bg = context.Background()

// fill computes n bytes of value v.
func fill(n int, v byte) func() ([]byte, error) {
	return func() ([]byte, error) { return bytes.Repeat([]byte{v}, n), nil }
}

func key(n int) Key { return Key{Chunk: int32(n)} }

// get fails the test unless the entry holds n bytes of v, and releases it.
func get(t *testing.T, c *Cache, k Key, n int, v byte) {
	t.Helper()
	e, err := c.Get(bg, k, fill(n, v))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(e.Bytes(), bytes.Repeat([]byte{v}, n)) {
		t.Fatalf("entry %v holds other bytes", k)
	}
	e.Release()
}

func TestEvictsLeastRecentlyUsed(t *testing.T) {
	c := New(3 * (1000 + overhead + 24)) // append rounds 1000 up to 1024
	for i := range 3 {
		get(t, c, key(i), 1000, byte(i))
	}
	get(t, c, key(0), 1000, 0) // now 1 is the oldest
	get(t, c, key(3), 1000, 3)
	for i, want := range []bool{true, false, true, true} {
		e, ok := c.Peek(key(i))
		if ok != want {
			t.Errorf("entry %d present: %v, want %v", i, ok, want)
		}
		if ok {
			e.Release()
		}
	}
	if s := c.Stats(); s.Hits != 1 || s.Misses != 4 || s.Evictions != 1 || s.Pinned != 0 || s.Bytes > c.budget {
		t.Errorf("stats %+v", s)
	}
}

func TestPeekKeepsRank(t *testing.T) {
	c := New(2 * (1024 + overhead))
	get(t, c, key(0), 1024, 0)
	get(t, c, key(1), 1024, 1)
	e, _ := c.Peek(key(0))
	e.Release()
	get(t, c, key(2), 1024, 2)
	if _, ok := c.Peek(key(0)); ok {
		t.Error("Peek made an entry young")
	}
}

func TestChargesCapacity(t *testing.T) {
	c := New(10000)
	e, err := c.Get(bg, key(0), func() ([]byte, error) { return make([]byte, 10, 4000), nil })
	if err != nil {
		t.Fatal(err)
	}
	defer e.Release()
	if s := c.Stats(); s.Bytes != 4000+overhead || s.Pinned != s.Bytes {
		t.Errorf("stats %+v", s)
	}
}

func TestLargerThanBudget(t *testing.T) {
	c := New(1000)
	get(t, c, key(0), 100, 1)
	get(t, c, key(1), 5000, 2)
	get(t, c, key(1), 5000, 3) // computed again
	get(t, c, key(0), 100, 1)
	if s := c.Stats(); s.Misses != 3 || s.Hits != 1 || s.Evictions != 0 || s.Pinned != 0 {
		t.Errorf("stats %+v", s)
	}
}

func TestPinnedStays(t *testing.T) {
	const n = 20000 // of a size that is used again
	c := New(2 * (n + 1000))
	pinned, err := c.Get(bg, key(0), func() ([]byte, error) {
		b := c.Buffer(n)
		copy(b, bytes.Repeat([]byte{7}, n))
		return b, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for i := 1; i < 50; i++ {
		e, err := c.Get(bg, key(i), func() ([]byte, error) {
			b := c.Buffer(n)
			copy(b, bytes.Repeat([]byte{byte(i + 10)}, n))
			return b, nil
		})
		if err != nil {
			t.Fatal(err)
		}
		e.Release()
	}
	if !bytes.Equal(pinned.Bytes(), bytes.Repeat([]byte{7}, n)) {
		t.Error("a pinned entry changed")
	}
	if e, ok := c.Peek(key(0)); !ok || e != pinned {
		t.Error("a pinned entry was evicted")
	} else {
		e.Release()
	}
	pinned.Release()
	if s := c.Stats(); s.Bytes > c.budget || s.Pinned != 0 {
		t.Errorf("stats %+v", s)
	}
}

// Pins may hold more than the budget; it is met again when they go.
func TestOverBudgetWhilePinned(t *testing.T) {
	c := New(3000)
	var held []*Entry
	for i := range 10 {
		e, err := c.Get(bg, key(i), fill(1024, byte(i)))
		if err != nil {
			t.Fatal(err)
		}
		held = append(held, e)
	}
	for i, e := range held {
		if e.Bytes()[0] != byte(i) {
			t.Errorf("entry %d changed", i)
		}
		e.Release()
	}
	if s := c.Stats(); s.Bytes > 3000 || s.Bytes == 0 || s.Pinned != 0 || s.Evictions != 8 {
		t.Errorf("stats %+v", s)
	}
}

func TestReusesBuffers(t *testing.T) {
	const n = 1 << 20
	c := New(n + overhead)
	allocs := testing.AllocsPerRun(50, func() {
		for i := range 2 { // each evicts the other
			e, _ := c.Get(bg, key(i), func() ([]byte, error) { return c.Buffer(n), nil })
			e.Release()
		}
	})
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for i := range 20 {
		e, _ := c.Get(bg, key(i), func() ([]byte, error) { return c.Buffer(n), nil })
		e.Release()
	}
	runtime.ReadMemStats(&after)
	if got := after.TotalAlloc - before.TotalAlloc; got > n {
		t.Errorf("20 chunks allocated %d bytes (%v allocations for two)", got, allocs)
	}
}

// Chunks that pass through do not push out what was derived, up to its share.
func TestDerivedEntriesStay(t *testing.T) {
	derived := func(i int) Key { return Key{Chunk: int32(i), Kind: 1} }
	c := New(100 << 10)
	for i := range 100 {
		c.Put(derived(i), bytes.Repeat([]byte{byte(i)}, 1<<10))
		get(t, c, key(i), 4<<10, byte(i))
		get(t, c, key(i+1000), 4<<10, byte(i))
	}
	kept := 0
	for i := range 100 {
		if e, ok := c.Peek(derived(i)); ok {
			if e.Bytes()[0] != byte(i) {
				t.Errorf("entry %d holds other bytes", i)
			}
			e.Release()
			kept++
		}
	}
	if s := c.Stats(); kept < 15 || kept > 25 || s.Bytes > 100<<10 || s.Bytes < 80<<10 {
		t.Errorf("%d of 100 kept; %+v", kept, s)
	}
}

func TestPut(t *testing.T) {
	c := New(10000)
	c.Put(key(0), []byte("first"))
	c.Put(key(0), []byte("second"))
	c.Put(key(1), make([]byte, 20000))
	e, ok := c.Peek(key(0))
	if !ok || string(e.Bytes()) != "first" {
		t.Fatalf("got %v %v", e, ok)
	}
	e.Release()
	if _, ok := c.Peek(key(1)); ok {
		t.Error("kept an entry larger than the budget")
	}
}

func TestSingleFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := New(1 << 20)
		var computed atomic.Int32
		var wg sync.WaitGroup
		for range 50 {
			wg.Go(func() {
				e, err := c.Get(bg, key(0), func() ([]byte, error) {
					computed.Add(1)
					time.Sleep(time.Second)
					return []byte("once"), nil
				})
				if err != nil || string(e.Bytes()) != "once" {
					t.Errorf("got %v", err)
					return
				}
				e.Release()
			})
		}
		wg.Wait()
		if computed.Load() != 1 {
			t.Errorf("computed %d times", computed.Load())
		}
		if s := c.Stats(); s.Misses != 1 || s.Hits != 49 || s.Pinned != 0 {
			t.Errorf("stats %+v", s)
		}
	})
}

// However many keys are asked for, no more are computed at a time than there are CPUs.
func TestBoundsComputations(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := New(1 << 20)
		var now, most atomic.Int32
		var wg sync.WaitGroup
		for i := range 10 * runtime.NumCPU() {
			wg.Go(func() {
				e, err := c.Get(bg, key(i), func() ([]byte, error) {
					if n := now.Add(1); n > most.Load() {
						most.Store(n)
					}
					time.Sleep(time.Second)
					now.Add(-1)
					return []byte("x"), nil
				})
				if err != nil {
					t.Error(err)
					return
				}
				e.Release()
			})
		}
		wg.Wait()
		if int(most.Load()) != runtime.NumCPU() {
			t.Errorf("%d at a time on %d CPUs", most.Load(), runtime.NumCPU())
		}
	})
}

func TestFailureIsSharedAndForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := New(1 << 20)
		broken := errors.New("broken")
		var computed atomic.Int32
		var wg sync.WaitGroup
		for range 10 {
			wg.Go(func() {
				_, err := c.Get(bg, key(0), func() ([]byte, error) {
					computed.Add(1)
					time.Sleep(time.Second)
					return nil, broken
				})
				if !errors.Is(err, broken) {
					t.Errorf("got %v", err)
				}
			})
		}
		wg.Wait()
		if computed.Load() != 1 {
			t.Errorf("computed %d times", computed.Load())
		}
		get(t, c, key(0), 10, 1)
	})
}

func TestPanicBecomesError(t *testing.T) {
	c := New(1 << 20)
	_, err := c.Get(bg, key(0), func() ([]byte, error) { panic("bang") })
	if err == nil || !strings.Contains(err.Error(), "bang") {
		t.Fatalf("got %v", err)
	}
	get(t, c, key(0), 10, 1)
}

func TestGoexitFreesWaiters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := New(1 << 20)
		go c.Get(bg, key(0), func() ([]byte, error) {
			time.Sleep(time.Second)
			runtime.Goexit()
			return nil, nil
		})
		synctest.Wait()
		if _, err := c.Get(bg, key(0), fill(1, 1)); !errors.Is(err, errAbandoned) {
			t.Errorf("got %v", err)
		}
	})
}

// A waiter leaves with its context; whoever computes goes on, whatever becomes of its own.
func TestContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := New(1 << 20)
		first, cancel := context.WithCancel(bg)
		done := make(chan struct{})
		go func() {
			defer close(done)
			e, err := c.Get(first, key(0), func() ([]byte, error) {
				time.Sleep(time.Minute)
				return []byte("kept"), nil
			})
			if err != nil {
				t.Errorf("the first caller failed: %v", err)
				return
			}
			e.Release()
		}()
		synctest.Wait()
		cancel()
		impatient, stop := context.WithTimeout(bg, time.Second)
		defer stop()
		if _, err := c.Get(impatient, key(0), fill(1, 1)); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		get(t, c, key(1), 10, 2) // other keys go on meanwhile
		<-done
		e, ok := c.Peek(key(0))
		if !ok || string(e.Bytes()) != "kept" {
			t.Fatal("the computation was lost")
		}
		e.Release()
		if s := c.Stats(); s.Pinned != 0 {
			t.Errorf("stats %+v", s)
		}
	})
}

func TestReleasedTwice(t *testing.T) {
	c := New(1 << 20)
	e, _ := c.Get(bg, key(0), fill(1, 1))
	e.Release()
	defer func() {
		if recover() == nil {
			t.Error("nothing said")
		}
	}()
	e.Release()
}

// Many readers of few keys in a cache of a quarter of them: every byte of every
// entry is right as long as it is pinned, and the books balance in the end.
func TestConcurrent(t *testing.T) {
	for _, procs := range []int{1, runtime.NumCPU()} {
		defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(procs))
		c := New(8 * (20000 + overhead))
		var wg sync.WaitGroup
		for g := range 8 {
			wg.Go(func() { hammer(t, c, rand.New(rand.NewPCG(uint64(g), 1))) })
		}
		wg.Wait()
		if s := c.Stats(); s.Pinned != 0 || s.Bytes > c.budget || s.Evictions == 0 || s.Hits == 0 || len(c.flights) != 0 {
			t.Errorf("stats %+v", s)
		}
	}
}

func hammer(t *testing.T, c *Cache, r *rand.Rand) {
	var held []*Entry
	var want []byte
	for range 2000 {
		k := r.IntN(32)
		ctx, cancel := context.WithCancel(bg)
		if r.IntN(8) == 0 {
			cancel()
		}
		e, err := c.Get(ctx, key(k), func() ([]byte, error) {
			b := c.Buffer(20000 + k)
			for i := range b {
				b[i] = byte(k)
			}
			if r.IntN(10) == 0 {
				c.Recycle(b)
				return nil, errors.New("no luck")
			}
			return b, nil
		})
		cancel()
		if err == nil {
			held, want = append(held, e), append(want, byte(k))
		}
		if len(held) > r.IntN(4) {
			for i, e := range held {
				if b := e.Bytes(); bytes.Count(b, want[i:i+1]) != len(b) || len(b) != 20000+int(want[i]) {
					t.Errorf("entry %d holds other bytes", want[i])
				}
				e.Release()
			}
			held, want = held[:0], want[:0]
		}
	}
	for _, e := range held {
		e.Release()
	}
}

func BenchmarkHit(b *testing.B) {
	c := New(1 << 20)
	get := func() {
		e, _ := c.Get(bg, key(0), fill(1000, 1))
		e.Release()
	}
	get()
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			get()
		}
	})
}
