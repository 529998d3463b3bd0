package codec

import "math/bits"

// fit gives symbols cells by how often they are in n bytes, at least two of them different.
func (t *fseTable) fit(h *[256]uint32, n int) {
	top := 0
	for s, c := range h {
		if c > 0 {
			top = s
		}
	}
	enough := min(bits.Len(uint(n-1)), bits.Len(uint(top))+1) // a cell for each
	t.log = uint(max(5, enough, min(bits.Len(uint(n-1))-4, fseLog)))
	size := 1 << t.log
	left := size
	t.prob = [256]int16{}
	for s, c := range h {
		if c > 0 {
			t.prob[s] = int16(max(1, (2*uint64(c)*uint64(size)+uint64(n))/(2*uint64(n))))
			left -= int(t.prob[s])
		}
	}
	for ; left > 0; left-- {
		t.prob[t.cheapest(h, 1)]++
	}
	for ; left < 0; left++ {
		t.prob[t.cheapest(h, -1)]--
	}
	t.build()
}

// cheapest is the symbol that gains most by one cell more, or loses least by one less: the
// derivative of its bits between the two.
func (t *fseTable) cheapest(h *[256]uint32, by int16) int {
	best, most := 0, 0.0
	for s, p := range &t.prob {
		if p == 0 || p+by < 1 {
			continue
		}
		if v := float64(h[s]) / (float64(p) + float64(by)/2); most == 0 || (v > most) == (by > 0) {
			best, most = s, v
		}
	}
	return best
}

// append adds the description that read reads.
func (t *fseTable) append(dst []byte) []byte {
	bw := bitWriter{dst: dst}
	bw.put(uint64(t.log-5), 4)
	left := 1 << t.log
	for s := 0; left > 0; s++ {
		w := uint(bits.Len(uint(left + 1)))
		short := 1<<w - 1 - (left + 1) // values below take a bit less
		n := int(t.prob[s]) + 1
		switch {
		case n < short:
			bw.put(uint64(n), w-1)
		case n < 1<<(w-1):
			bw.put(uint64(n), w)
		default:
			bw.put(uint64(n+short), w)
		}
		left -= n - 1
		if n > 1 {
			continue
		}
		zeros := 0
		for ; t.prob[s+1] == 0; s++ {
			zeros++
		}
		for ; zeros >= 3; zeros -= 3 {
			bw.put(3, 2)
		}
		bw.put(uint64(zeros), 2)
	}
	return bw.bytes()
}

// fseEncoder writes what decode reads.
type fseEncoder struct {
	state [1 << fseLog]uint16 // the cells of each symbol, in their order
	sym   [256]fseSymbol
}

// fseSymbol is what a symbol does to a state, from 2^log on: the state's low
// (state + bits) >> 16 bits are sent, and those above, plus first, say which cell is next.
type fseSymbol struct{ bits, first uint32 }

func (e *fseEncoder) prepare(t *fseTable) {
	var at [256]uint32
	next := uint32(0)
	for s, p := range &t.prob {
		if p == 0 {
			continue
		}
		n := uint32(max(p, -p))
		most := min(uint32(t.log)+1-uint32(bits.Len32(n-1)), uint32(t.log))
		at[s], e.sym[s] = next, fseSymbol{most<<16 - n<<most, next - n}
		next += n
	}
	for i, c := range t.cells[:1<<t.log] {
		s := c.symbol()
		e.state[at[s]] = uint16(1<<t.log + i)
		at[s]++
	}
}

// lead sends the low bits of a state that make room for symbol b, and returns the next state.
func (e *fseEncoder) lead(w *bitWriter, s uint32, b byte) uint32 {
	y := e.sym[b]
	n := (s + y.bits) >> 16
	w.put(uint64(s&(1<<(n&31)-1)), uint(n))
	return uint32(e.state[(s>>(n&31)+y.first)%(1<<fseLog)])
}

// append encodes src, every byte of which has a cell in the table.
func (e *fseEncoder) append(dst, src []byte, t *fseTable) []byte {
	e.prepare(t)
	w := bitWriter{dst: dst}
	var s [fseStates]uint32
	i := len(src) - 1
	for ; i >= 0 && (i%fseStates != fseStates-1 || i+fseStates >= len(src)); i-- {
		k, b := i%fseStates, src[i]
		if i+fseStates < len(src) {
			s[k] = e.lead(&w, s[k], b)
			continue
		}
		p := t.prob[b]
		s[k] = uint32(e.state[(e.sym[b].first+uint32(max(p, -p)))%(1<<fseLog)]) // its first cell
	}
	s0, s1, s2, s3 := s[0], s[1], s[2], s[3]
	for ; i >= 0; i -= fseStates {
		b := src[i-3 : i+1 : i+1]
		s3 = e.lead(&w, s3, b[3])
		s2 = e.lead(&w, s2, b[2])
		s1 = e.lead(&w, s1, b[1])
		s0 = e.lead(&w, s0, b[0])
	}
	for _, s := range [fseStates]uint32{s3, s2, s1, s0} {
		w.put(uint64(s)-1<<t.log, t.log)
	}
	w.put(1, 1)
	return w.bytes()
}
