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
