package codec

import (
	"fmt"
	"math/bits"
)

// Integers of uneven size, as differences to a base are, in three ways: Golomb-Rice and
// exponential Golomb codes, which need one byte of parameter and serve small tensors, and
// a packed stream of bit lengths followed by the bits below the leading one.

// smallInts is the most integers for which the parameter codes are tried.
const smallInts = 1 << 14

// appendRice appends src, integers of w bytes, by the better of the two parameter codes;
// nil when neither applies. The parameter is the number of low bits that stand as they
// are; its highest bit tells the exponential code.
func appendRice(dst, src []byte, w int) []byte {
	param, size := byte(0), -1
	for k := range min(8*w, maxShift) {
		rice, exp, most := 0, 0, uint64(0)
		for i := 0; i < len(src); i += w {
			q := load(src[i:], w) >> k
			most = max(most, q)
			rice += int(min(q, maxUnary)) + 1 + k
			exp += 2*bits.Len64(q+1) - 1 + k
		}
		if most < maxUnary && (size < 0 || rice < size) {
			param, size = byte(k), rice
		}
		if most>>maxShift == 0 && (size < 0 || exp < size) {
			param, size = byte(k)|expFlag, exp
		}
	}
	if size < 0 {
		return nil
	}
	k := uint(param &^ expFlag)
	bw := bitWriter{dst: append(dst, param)}
	for i := 0; i < len(src); i += w {
		v := load(src[i:], w)
		q := v >> k
		if param&expFlag != 0 {
			n := uint(bits.Len64(q+1)) - 1
			bw.unary(uint64(n))
			bw.put64(q+1-1<<n, n)
		} else {
			bw.unary(q)
		}
		bw.put64(v&(1<<k-1), k)
	}
	return bw.bytes()
}

const (
	expFlag  = 128
	maxUnary = 64 // the longest quotient that a Rice code is used for
	maxShift = 48
)

func parseRice(dst, src []byte, w int) error {
	if len(src) == 0 || src[0]&^expFlag >= maxShift {
		return fmt.Errorf("%w: parameter", ErrCorrupt)
	}
	k, exp := uint(src[0]&^expFlag), src[0]&expFlag != 0
	r := newBitReader(nil, src[1:])
	for i := 0; i < len(dst); i += w {
		q := r.unary()
		if exp {
			if q > maxShift || r.over() {
				return fmt.Errorf("%w: integer", ErrCorrupt)
			}
			q = 1<<q + r.get(uint(q)) - 1
		}
		store(dst[i:], w, q<<k|r.get(k))
	}
	return atEnd(&r)
}

// atEnd checks that a stream was read to its last byte.
func atEnd(r *bitReader) error {
	if r.over() || r.end-r.pos >= 8 {
		return fmt.Errorf("%w: stream of %d bits, read %d", ErrCorrupt, r.end, r.pos)
	}
	return nil
}

// appendLengths appends integers as bit lengths and the bits below the leading one; nil
// when that is sure to take limit bytes or more.
func appendLengths(dst, src []byte, w, limit int) []byte {
	lens := newBuffer(len(src) / w)
	defer buffers.Put(lens)
	total := 0
	for i := range lens.data {
		n := bits.Len64(load(src[i*w:], w))
		lens.data[i] = byte(n)
		total += max(n-1, 0)
	}
	h := histogram(lens.data)
	if (total+int(entropyBits(h[:], len(lens.data))))/8 >= limit {
		return nil
	}
	bw := bitWriter{dst: appendPacked(dst, lens.data, exactGain)}
	for i, n := range lens.data {
		if n > 1 {
			bw.put64(load(src[i*w:], w)&(1<<(n-1)-1), uint(n)-1)
		}
	}
	return bw.bytes()
}

func parseLengths(dst, src []byte, w int) error {
	lens := newBuffer(len(dst) / w)
	defer buffers.Put(lens)
	src, err := unpack(lens.data, src)
	if err != nil {
		return err
	}
	r := newBitReader(nil, src)
	for i, n := range lens.data {
		if n == 0 {
			store(dst[i*w:], w, 0)
			continue
		}
		if int(n) > 8*w {
			return fmt.Errorf("%w: integer of %d bits", ErrCorrupt, n)
		}
		m := uint(n) - 1
		v := r.get(min(m, 32))
		v |= r.get(m-min(m, 32)) << 32
		store(dst[i*w:], w, v|1<<m)
	}
	return atEnd(&r)
}
