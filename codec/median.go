package codec

import "math"

// Median finds the lower-middle element of |x| exactly over many chunks: Count
// each chunk, call Narrow, Count each again, then Value. (Two passes over the bits.)
// NaN counts as larger than everything.
type Median struct {
	count  []uint64 // by the high bits, then by the low bits of those that have high
	high   uint32
	rank   uint64 // of the median among what is counted
	narrow bool
}

// medianLow is how many of the 31 bits are left to the second pass.
const medianLow = 15

// Count takes in one chunk.
func (m *Median) Count(x []float32) {
	if m.count == nil {
		m.count = make([]uint64, 1<<(31-medianLow))
	}
	count := m.count
	for _, f := range x {
		b := math.Float32bits(f) & 0x7fffffff
		if !m.narrow {
			count[b>>medianLow]++
		} else if b>>medianLow == m.high {
			count[b&(1<<medianLow-1)]++
		}
	}
}

// Narrow ends the first pass.
func (m *Median) Narrow() {
	n := uint64(0)
	for _, c := range m.count {
		n += c
	}
	m.narrow = true
	if n > 0 {
		m.rank = (n - 1) / 2
		m.high = m.seek()
	}
	clear(m.count)
}

// Value ends the second.
func (m *Median) Value() float32 {
	if m.count == nil {
		return 0
	}
	return math.Float32frombits(m.high<<medianLow | m.seek())
}

// seek finds the bin of the rank and leaves the rank inside it.
func (m *Median) seek() uint32 {
	for i, c := range m.count {
		if m.rank < c {
			return uint32(i)
		}
		m.rank -= c
	}
	return 0
}
