package codec

import (
	"math/bits"
	"sync"
)

// golomb is the Golomb code of one divisor: quotient in unary, remainder in
// truncated binary.
type golomb struct {
	m     uint64
	width uint   // of a long remainder
	short uint64 // remainders below are one bit shorter
}

func newGolomb(m uint64) golomb {
	w := uint(bits.Len64(m - 1))
	return golomb{m: m, width: w, short: 1<<w - m}
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

// codesBits is how many bits of a stream a table looks at.
const codesBits = 11

// codes decodes, by the next bits of a stream, up to two gaps that are whole in them.
type codes [1 << codesBits]gaps

// gaps is, from the lowest bits: the size of the first code (4; 0: it is longer than the table
// knows), of both (4), and how far the codes lead, the gaps and one (12 each; 0: there is no second).
type gaps uint32

func (e gaps) size() uint  { return uint(e & 15) }
func (e gaps) size2() uint { return uint(e >> 4 & 15) }
func (e gaps) step() int   { return int(e >> 8 & (1<<12 - 1)) }
func (e gaps) step2() int  { return int(e >> 20) }
func (e gaps) two() bool   { return e>>20 != 0 }

// tables holds the codes of small divisors, made when first needed; others have an empty one.
var (
	tables [257]struct {
		once  sync.Once
		codes *codes
	}
	noCodes codes
)

func codesOf(m uint64) *codes {
	if m == 0 || m >= uint64(len(tables)) {
		return &noCodes
	}
	t := &tables[m]
	t.once.Do(func() { t.codes = newCodes(newGolomb(m)) })
	return t.codes
}

func newCodes(g golomb) *codes {
	t := new(codes)
	var src [10]byte
	for v := range t {
		src[0], src[1] = byte(v), byte(v>>8)
		r := bitReader{src: src[:], end: codesBits}
		n := g.get(&r)
		if r.over() {
			continue
		}
		t[v] = gaps(r.pos) | gaps(n+1)<<8
		if n = g.get(&r); !r.over() {
			t[v] |= gaps(r.pos)<<4 | gaps(n+1)<<20
		}
	}
	return t
}
