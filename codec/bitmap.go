package codec

import "math/bits"

// Bitmap is one bit an element of a chunk, least significant first.
type Bitmap []uint64

// NewBitmap has room for n elements, all clear.
func NewBitmap(n int) Bitmap { return make(Bitmap, (n+63)/64) }

// Get, Set work on one bit.
func (b Bitmap) Get(i int) bool { return b[i>>6]>>(i&63)&1 != 0 }

// Set sets one bit.
func (b Bitmap) Set(i int) { b[i>>6] |= 1 << (i & 63) }

func bit(b Bitmap, i int) int { return int(b[i>>6] >> (i & 63) & 1) }

// ones is the number of set bits in [from, to).
func (b Bitmap) ones(from, to int) (n int) {
	for w := from >> 6; w<<6 < to; w++ {
		n += bits.OnesCount64(b.word(w, from, to))
	}
	return n
}

// each calls fn for the set bits in [from, to).
func (b Bitmap) each(from, to int, fn func(i int)) {
	for w := from >> 6; w<<6 < to; w++ {
		for v := b.word(w, from, to); v != 0; v &= v - 1 {
			fn(w<<6 + bits.TrailingZeros64(v))
		}
	}
}

// word is a word of the bitmap with the bits outside [from, to) clear.
func (b Bitmap) word(w, from, to int) uint64 { return b[w] & between(w, from, to) }

// between is a word w of a bitmap in which [from, to) is set.
func between(w, from, to int) uint64 {
	v := ^uint64(0)
	if w == from>>6 {
		v <<= from & 63
	}
	if w == to>>6 {
		v &= 1<<(to&63) - 1
	}
	return v
}
