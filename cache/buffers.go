package cache

// Buffers outside these sizes are left to the collector.
const (
	minBuffer = 16 << 10
	maxBuffer = slotSize
	maxFree   = 16
)

// freeList holds buffers for reuse: chunks of one tensor are of one size, and
// a megabyte is expensive to allocate and to clear. It is guarded by Cache.mu.
type freeList struct {
	slabs slabs
	bufs  [maxFree][]byte
	last  int // the slot overwritten last
}

func (l *freeList) put(b []byte) {
	if cap(b) == slotSize {
		l.slabs.put(b)
		return
	}
	if cap(b) < minBuffer || cap(b) > maxBuffer {
		return
	}
	for i := range l.bufs {
		if l.bufs[i] == nil {
			l.bufs[i] = b
			return
		}
	}
	l.last = (l.last + 1) % maxFree
	l.bufs[l.last] = b
}

// take finds a buffer of n bytes that is not much larger, as entries are
// charged by capacity.
func (l *freeList) take(n int) []byte {
	if l.slabs.fits(n) {
		return l.slabs.take(n)
	}
	for i := range l.bufs {
		b := l.bufs[i]
		if cap(b) >= n && cap(b) <= n+n/8 && n > 0 {
			l.bufs[i] = nil
			return b[:n]
		}
	}
	return nil
}
