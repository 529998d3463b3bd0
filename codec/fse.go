package codec

import (
	"encoding/binary"
	"fmt"
	"math/bits"
)

const (
	// fseLog is log2 of the most cells of a table.
	fseLog = 12
	// fseStates is how many states take turns: a processor works on all at once.
	fseStates = 4
)

// fseTable says how many cells each symbol has, and which.
type fseTable struct {
	log   uint
	prob  [256]int16 // cells of a symbol; -1: one, at the end
	cells [1 << fseLog]fseCell
	desc  []byte // scratch of the description's reader
}

// fseCell is, from the lowest bits: b, how many bits follow the state (6), 63 - b (6), the symbol
// (8), and what those bits are added to for the next state (12).
type fseCell uint32

func newCell(b, symbol, next uint32) fseCell {
	return fseCell(b | (63-b)<<6 | symbol<<12 | next<<20)
}

func (c fseCell) symbol() byte { return byte(c >> 12) }

// next is the state that follows, with the bits at the top of v.
func (c fseCell) next(v uint64) uint32 { return uint32(c>>20) + uint32(v>>1>>(c>>6&63)) }

// read builds the table from its description at the front of src (RFC 8878, 4.1.1) and
// returns the rest.
func (t *fseTable) read(src []byte) ([]byte, error) {
	const longest = 512 // more than 256 probabilities take
	r := newBitReader(t.desc, src[:min(len(src), longest)])
	t.desc = r.src
	if t.log = uint(r.get(4)) + 5; t.log > fseLog {
		return nil, fmt.Errorf("table of 2^%d cells", t.log)
	}
	t.prob = [256]int16{}
	left, zero := 1<<t.log, false
	for s := 0; left > 0; s++ {
		if zero {
			for n := 3; n == 3; s += n {
				n = int(r.get(2))
			}
		}
		if s > 255 || r.over() {
			return nil, fmt.Errorf("table description")
		}
		w := uint(bits.Len(uint(left + 1)))
		short := 1<<w - 1 - (left + 1) // values below take a bit less
		n := int(r.get(w - 1))
		if n >= short {
			if n |= int(r.get(1)) << (w - 1); n >= 1<<(w-1) {
				n -= short
			}
		}
		t.prob[s] = int16(n - 1)
		left -= max(n-1, 1-n)
		zero = n == 1
	}
	if left < 0 || r.over() {
		return nil, fmt.Errorf("table description")
	}
	t.build()
	return src[(r.pos+7)/8:], nil
}

// build spreads the symbols over the cells.
func (t *fseTable) build() {
	size := 1 << t.log
	cells := t.cells[:size]
	var next [256]uint32
	last := size - 1
	for s, p := range &t.prob {
		next[s] = uint32(max(p, -p))
		if p < 0 {
			cells[last] = newCell(0, uint32(s), 0)
			last--
		}
	}
	at, step := 0, size>>1+size>>3+3
	for s, p := range &t.prob {
		for range max(p, 0) {
			cells[at] = newCell(0, uint32(s), 0)
			for at = (at + step) & (size - 1); at > last; {
				at = (at + step) & (size - 1)
			}
		}
	}
	for i, c := range cells {
		s := c.symbol()
		n := next[s]
		next[s]++
		b := uint32(t.log) + 1 - uint32(bits.Len32(n))
		cells[i] = newCell(b, uint32(s), n<<b-uint32(size))
	}
}

// decode fills dst from a stream that four states share, from its end to its front: the first
// gives every fourth symbol, the second those behind. Each symbol but the last four is
// followed by bits, to make its state's next of.
func (t *fseTable) decode(dst, src []byte) error {
	if len(src) == 0 || src[len(src)-1] == 0 {
		return fmt.Errorf("stream without an end")
	}
	pos := 8*len(src) - 9 + bits.Len8(src[len(src)-1]) // bits not read yet
	var s [fseStates]uint32
	for i := range s {
		pos -= int(t.log)
		s[i] = bitsAt(src, pos, t.log)
	}
	i, pos := t.fast(dst, src, pos, &s)
	for ; i < len(dst); i++ {
		c := t.cells[s[i%fseStates]%(1<<fseLog)]
		dst[i] = c.symbol()
		if i+fseStates < len(dst) {
			pos -= int(c & 63)
			s[i%fseStates] = uint32(c>>20) + bitsAt(src, pos, uint(c&63))
		}
	}
	if pos != 0 {
		return fmt.Errorf("stream with %d bits left", pos)
	}
	return nil
}

// fast decodes while there are 64 bits, a symbol of each state at a time, and returns where it ends.
func (t *fseTable) fast(dst, src []byte, pos int, s *[fseStates]uint32) (i, end int) {
	cells := &t.cells
	s0, s1, s2, s3 := s[0], s[1], s[2], s[3]
	for ; pos >= 64 && i+2*fseStates <= len(dst); i += fseStates {
		at := pos>>3 - 7
		v := binary.LittleEndian.Uint64(src[at:at+8]) << (8 - pos&7) // the next bits at the top
		a, b := cells[s0%(1<<fseLog)], cells[s1%(1<<fseLog)]
		s0 = a.next(v)
		v <<= a & 63
		s1 = b.next(v)
		v <<= b & 63
		c, d := cells[s2%(1<<fseLog)], cells[s3%(1<<fseLog)]
		s2 = c.next(v)
		v <<= c & 63
		s3 = d.next(v)
		binary.LittleEndian.PutUint32(dst[i:i+4], uint32(a.symbol())|uint32(b.symbol())<<8|uint32(c.symbol())<<16|uint32(d.symbol())<<24)
		pos -= int((a + b + c + d) & 63) // four of at most 12 each
	}
	*s = [fseStates]uint32{s0, s1, s2, s3}
	return i, pos
}

// bitsAt is n bits at a place in src, at most 16; zeros where that is outside.
func bitsAt(src []byte, pos int, n uint) uint32 {
	v := uint32(0)
	for i := range 3 {
		if at := pos>>3 + i; at >= 0 && at < len(src) {
			v |= uint32(src[at]) << (8 * i)
		}
	}
	return v >> (pos & 7) & (1<<n - 1)
}
