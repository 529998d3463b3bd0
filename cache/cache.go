package cache

import (
	"context"
	"math"
	"runtime"
	"sync"

	"github.com/hashicorp/golang-lru/v2/simplelru"
)

// Key names a chunk: a content, a tensor in it and a chunk of that. Kind keeps
// derived things (masks) apart from the chunks themselves.
type Key struct {
	Content [16]byte
	Tensor  int32
	Chunk   int32
	Kind    uint8
}

const (
	// overhead is what an entry costs beside its bytes: the entry, its place in
	// list and map.
	overhead = 256
	// One part in derivedShare of the budget is safe from chunks for derived
	// entries: they are small, expensive, and asked for again a whole file later.
	derivedShare = 4
)

// Cache is safe for concurrent use. It takes over the bytes it is given: when
// an entry is neither kept nor pinned any more, its buffer is used again.
type Cache struct {
	budget int64
	slots  chan struct{} // held while computing

	mu      sync.Mutex
	chunks  list // kept entries, pinned or not
	derived list // those of a Kind other than 0
	flights map[Key]*flight
	free    freeList
	stats   Stats
}

// Entry is pinned from Get until Release: its bytes do not change and stay counted.
type Entry struct {
	c    *Cache
	data []byte
	pins int  // guarded by c.mu
	kept bool // in a list; guarded by c.mu
}

// Stats are totals since New, but Bytes and Pinned, which are of now.
type Stats struct {
	Hits      int64 // asked for and there, or being computed
	Misses    int64 // computed
	Evictions int64
	Bytes     int64 // charged: capacity of the buffers and a fixed overhead
	Pinned    int64 // the part of Bytes in use, and what is in use without being kept
}

// list is entries by use, and what they are charged.
type list struct {
	*simplelru.LRU[Key, *Entry]
	bytes int64
}

func newList() list {
	l, err := simplelru.NewLRU[Key, *Entry](math.MaxInt, nil)
	if err != nil {
		panic(err) // only for a size that is not positive
	}
	return list{LRU: l}
}

// New makes a cache of the given budget in bytes.
func New(budget int64) *Cache {
	slots := make(chan struct{}, runtime.NumCPU())
	return &Cache{budget: budget, slots: slots, chunks: newList(), derived: newList(),
		flights: map[Key]*flight{}, free: freeList{slabs: newSlabs(budget)}}
}

func (c *Cache) of(k Key) *list {
	if k.Kind != 0 {
		return &c.derived
	}
	return &c.chunks
}

// Get returns the entry of a key, computing it at most once however many ask.
// The first caller computes, whatever becomes of its context; the others wait
// until their context ends. A failure, or a panic, goes to all who wait and is
// not kept. As many computations run at a time as there are CPUs; those who wait for one
// do not count, so compute must not call Get. What it returns belongs to the cache.
func (c *Cache) Get(ctx context.Context, k Key, compute func() ([]byte, error)) (*Entry, error) {
	c.mu.Lock()
	if e, ok := c.of(k).Get(k); ok {
		c.stats.Hits++
		c.pin(e, 1)
		c.mu.Unlock()
		return e, nil
	}
	if f, ok := c.flights[k]; ok {
		c.stats.Hits++
		f.waiters++
		c.mu.Unlock()
		return f.wait(ctx, c)
	}
	c.stats.Misses++
	f := &flight{done: make(chan struct{})}
	c.flights[k] = f
	c.mu.Unlock()

	c.land(k, f, compute)
	return f.entry, f.err
}

// Peek returns an entry only if it is there, without changing its rank.
func (c *Cache) Peek(k Key) (*Entry, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.of(k).Peek(k)
	if ok {
		c.pin(e, 1)
	}
	return e, ok
}

// Put keeps b under a key that nobody computes by Get; it belongs to the cache
// from then on. Where the key is there already, that entry stays.
func (c *Cache) Put(k Key, b []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := &Entry{c: c, data: b}
	if !c.of(k).Contains(k) {
		c.keep(k, e)
	}
	if !e.kept {
		c.free.put(b)
	}
	c.evict()
}

// Stats reads them.
func (c *Cache) Stats() Stats {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.stats
}

// Buffer returns n bytes of any contents to compute into: the buffer of an
// entry that went, or a new one.
func (c *Cache) Buffer(n int) []byte {
	c.mu.Lock()
	b := c.free.take(n)
	c.mu.Unlock()
	if b == nil {
		b = make([]byte, n)
	}
	return b
}

// Recycle takes back a buffer that did not become an entry.
func (c *Cache) Recycle(b []byte) {
	c.mu.Lock()
	c.free.put(b)
	c.mu.Unlock()
}

// Bytes are shared: not to be changed.
func (e *Entry) Bytes() []byte { return e.data }

// Release unpins; the entry must not be used afterwards.
func (e *Entry) Release() {
	e.c.mu.Lock()
	defer e.c.mu.Unlock()
	e.c.unpin(e)
}

func (e *Entry) charge() int64 { return int64(cap(e.data)) + overhead }

// pin and all below are called with c.mu held.
func (c *Cache) pin(e *Entry, n int) {
	if e.pins == 0 {
		c.stats.Pinned += e.charge()
	}
	e.pins += n
}

func (c *Cache) unpin(e *Entry) {
	if e.pins == 0 {
		panic("cache: entry released twice")
	}
	if e.pins--; e.pins > 0 {
		return
	}
	c.stats.Pinned -= e.charge()
	if !e.kept {
		c.free.put(e.data)
	}
	c.evict()
}

// keep puts an entry into the list unless it could never stay there.
func (c *Cache) keep(k Key, e *Entry) {
	if e.charge() > c.budget {
		return
	}
	e.kept = true
	l := c.of(k)
	l.Add(k, e)
	l.bytes += e.charge()
	c.stats.Bytes += e.charge()
}

// evict brings the cache back under its budget as far as pins allow.
func (c *Cache) evict() {
	first, second := &c.chunks, &c.derived
	if c.derived.bytes > c.budget/derivedShare {
		first, second = second, first
	}
	c.evictFrom(first)
	c.evictFrom(second)
}

// evictFrom removes the least recently used. An entry that is pinned is in use,
// so it moves to the front.
func (c *Cache) evictFrom(l *list) {
	for seen := 0; c.stats.Bytes > c.budget && seen < l.Len(); {
		k, e, _ := l.GetOldest()
		if e.pins > 0 {
			l.Get(k)
			seen++
			continue
		}
		l.Remove(k)
		e.kept = false
		l.bytes -= e.charge()
		c.stats.Bytes -= e.charge()
		c.stats.Evictions++
		c.free.put(e.data)
	}
}
