package codec

import "math/bits"

// nested calls fn for every element of the domain, with its class.
func (s *Support) nested(start int64, n int, domain Bitmap, fn func(class, i int)) {
	_ = s.stripes(start, n, func(st stripe) error {
		r := s.rowClass(st.row)
		domain.each(st.base+st.lo, st.base+st.hi, func(i int) {
			c := 0
			if s.col != nil {
				c = int(s.col[i-st.base])
			}
			fn(s.class(r, c), i)
		})
		return nil
	})
}

// nestedRun decodes the elements of the domain in [from, to), all of one class.
func (c *coder) nestedRun(class int, domain Bitmap, from, to int) {
	d := &c.dens[class]
	left := c.left[class]
	for w := from >> 6; w<<6 < to; w++ {
		v := domain.word(w, from, to)
		for v != 0 {
			if left < 0 {
				left = c.next(d)
			}
			n := bits.OnesCount64(v)
			if left >= n {
				if d.full {
					c.emitBits(w, v)
				}
				left -= n
				break
			}
			rest := v
			for ; left > 0; left-- {
				rest &= rest - 1
			}
			if d.full {
				c.emitBits(w, v&^rest)
			} else {
				c.emitBits(w, rest&-rest)
			}
			v = rest & (rest - 1)
			left = c.next(d)
		}
	}
	c.left[class] = left
}

// emitBits appends the set bits of word w.
func (c *coder) emitBits(w int, v uint64) {
	n := len(c.out)
	c.out = c.out[:n+bits.OnesCount64(v)]
	out := c.out[n:]
	for i := range out {
		out[i] = uint32(w<<6 + bits.TrailingZeros64(v))
		v &= v - 1
	}
}

// nestedRow decodes the elements of the domain in a stripe whose columns have classes.
func (c *coder) nestedRow(class *[256]uint8, col []uint8, domain Bitmap, st stripe) {
	from, to := st.base+st.lo, st.base+st.hi
	for w := from >> 6; w<<6 < to; w++ {
		for v := domain.word(w, from, to); v != 0; v &= v - 1 {
			i := w<<6 + bits.TrailingZeros64(v)
			k := class[col[i-st.base]] % maxClasses
			d := &c.dens[k]
			left := c.left[k]
			if left < 0 {
				left = c.next(d)
			}
			if (left == 0) != d.full {
				c.out = append(c.out, uint32(i))
			}
			if left == 0 {
				c.left[k] = c.next(d)
			} else {
				c.left[k] = left - 1
			}
		}
	}
}
