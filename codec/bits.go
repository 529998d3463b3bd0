package codec

import (
	"encoding/binary"
	"math/bits"
)

// bitWriter appends bits, the least significant first.
type bitWriter struct {
	dst []byte
	acc uint64
	n   uint // bits in acc, below 32 between calls
}

// put appends the low n bits of v, n at most 32; higher bits of v are clear.
func (w *bitWriter) put(v uint64, n uint) {
	w.acc |= v << w.n
	w.n += n
	if w.n >= 32 {
		w.dst = binary.LittleEndian.AppendUint32(w.dst, uint32(w.acc))
		w.acc >>= 32
		w.n -= 32
	}
}

// put64 is put for n up to 64.
func (w *bitWriter) put64(v uint64, n uint) {
	if n > 32 {
		w.put(v&(1<<32-1), 32)
		v, n = v>>32, n-32
	}
	w.put(v, n)
}

// unary appends q zeros and a one.
func (w *bitWriter) unary(q uint64) {
	for ; q > 31; q -= 31 {
		w.put(0, 31)
	}
	w.put(1<<q, uint(q)+1)
}

// bytes ends the stream with zero bits and returns it.
func (w *bitWriter) bytes() []byte {
	for ; w.n > 0; w.n -= min(w.n, 8) {
		w.dst = append(w.dst, byte(w.acc))
		w.acc >>= 8
	}
	return w.dst
}

// bitReader is the inverse of bitWriter. Reading past the end gives zero bits;
// over tells that it happened.
type bitReader struct {
	src []byte // ends with 8 bytes that are not part of the stream
	pos uint   // in bits
	end uint   // in bits
}

// newBitReader copies src into scratch to have room for whole words at its end.
func newBitReader(scratch, src []byte) bitReader {
	scratch = append(append(scratch[:0], src...), 0, 0, 0, 0, 0, 0, 0, 0)
	return bitReader{scratch, 0, uint(len(src)) * 8}
}

func (r *bitReader) over() bool { return r.pos > r.end }

// peek returns at least 57 bits at the position, zeros behind the end.
func (r *bitReader) peek() uint64 {
	i := r.pos >> 3
	if i > uint(len(r.src)-8) {
		return 0
	}
	return binary.LittleEndian.Uint64(r.src[i:]) >> (r.pos & 7)
}

// get reads n bits, at most 56.
func (r *bitReader) get(n uint) uint64 {
	v := r.peek() & (1<<n - 1)
	r.pos += n
	return v
}

// unary reads what bitWriter.unary wrote. A stream that has no one left counts as over.
func (r *bitReader) unary() uint64 {
	q := uint64(0)
	for r.pos <= r.end {
		if v := r.peek() << 8 >> 8; v != 0 { // 56 bits that are all there
			z := uint(bits.TrailingZeros64(v))
			r.pos += z + 1
			return q + uint64(z)
		}
		r.pos += 56
		q += 56
	}
	r.pos = r.end + 1
	return q
}

// golomb is the Golomb code of one divisor: quotient in unary, remainder in
// truncated binary.
type golomb struct {
	m     uint64
	width uint   // of a long remainder
	short uint64 // remainders below are one bit shorter
	mask  uint64 // of a short remainder
	skip  uint   // bits of a code with a short remainder, less the quotient
}

func newGolomb(m uint64) golomb {
	w := uint(bits.Len64(m - 1))
	g := golomb{m: m, width: w, short: 1<<w - m, mask: (1<<w - 1) >> 1, skip: max(w, 1)}
	if w == 0 {
		g.short = 1 // the remainder 0 takes no bits
	}
	return g
}

// get56 decodes a code of at most 56 bits at the bottom of v: no branch depends on it.
func (g *golomb) get56(v uint64, q uint) (n uint64, size uint) {
	v >>= q + 1
	x := v & g.mask
	long := (x-g.short)>>63 ^ 1
	size = q + g.skip
	x = x<<long | v>>(g.skip-1)&long
	return uint64(q)*g.m + x - g.short&-long, size + uint(long)
}

func (g golomb) put(w *bitWriter, v uint64) {
	w.unary(v / g.m)
	r := v % g.m
	switch {
	case g.width == 0:
	case r < g.short:
		w.put(r, g.width-1)
	default:
		r += g.short
		w.put(r>>1, g.width-1)
		w.put(r&1, 1)
	}
}

func (g golomb) get(r *bitReader) uint64 {
	v := r.unary() * g.m
	if g.width == 0 {
		return v
	}
	x := r.get(g.width - 1)
	if x >= g.short {
		x = x<<1 | r.get(1) - g.short
	}
	return v + x
}
