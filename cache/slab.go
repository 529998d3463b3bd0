package cache

import "golang.org/x/sys/unix"

const (
	slotSize = 1 << 20
	minSlab  = 2 << 20 // a huge page
	maxSlab  = 32 << 20
)

// slabs holds buffers of a full chunk. They are cut from larger pieces, which ask the
// kernel for huge pages: touching a new megabyte in pages of 4 KiB takes longer than
// decoding it. A piece is the collector's when all its buffers are. Guarded by Cache.mu.
type slabs struct {
	size int // of a piece
	free [][]byte
	rest []byte // of the newest piece, not cut yet
}

// newSlabs is for a cache of so many bytes: an eighth of it at a time.
func newSlabs(budget int64) slabs {
	return slabs{size: int(min(max(budget/8, minSlab), maxSlab)) &^ (slotSize - 1)}
}

// fits tells which buffers are slots: those that waste little of one.
func (s *slabs) fits(n int) bool { return n > slotSize-slotSize/8 && n <= slotSize }

func (s *slabs) put(b []byte) { s.free = append(s.free, b[:0:slotSize]) }

func (s *slabs) take(n int) []byte {
	if l := len(s.free) - 1; l >= 0 {
		b := s.free[l]
		s.free = s.free[:l]
		return b[:n]
	}
	if len(s.rest) == 0 {
		s.rest = make([]byte, s.size)
		// Without huge pages it is only slower.
		_ = unix.Madvise(s.rest, unix.MADV_HUGEPAGE)
	}
	b := s.rest[:n:slotSize]
	s.rest = s.rest[slotSize:]
	return b
}
