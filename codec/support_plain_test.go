package codec

import (
	"fmt"
	"math"
)

// The decoder in its plainest form, an oracle for Decode.

// Decode appends the positions (relative to the chunk) to pos in the order in which
// Values codes them. It never appends more than n.
func (s *Support) decodePlain(pos []uint32, src []byte, start int64, n int, domain Bitmap) ([]uint32, error) {
	c := newCoder()
	defer coders.Put(c)
	present, err := s.present(start, n)
	if err != nil {
		return pos, fmt.Errorf("support: %w", err)
	}
	for k, p := range present {
		if !p {
			continue
		}
		if len(src) == 0 {
			return pos, fmt.Errorf("support: %w: class %d is missing", ErrCorrupt, k)
		}
		c.dens[k], src = densityOf(src[0]), src[1:]
	}
	c.bits = newBitReader(c.buf, src)
	c.buf = c.bits.src
	for k, p := range present {
		c.left[k] = math.MaxInt
		if p && c.dens[k].code.m > 0 {
			c.left[k] = -1
		}
	}
	s.eachPlain(start, n, domain, func(class, i int) {
		if c.left[class] < 0 {
			c.nextPlain(class)
		}
		full := c.dens[class].full
		if c.left[class] == 0 {
			c.nextPlain(class)
			full = !full
		} else {
			c.left[class]--
		}
		if full {
			pos = append(pos, uint32(i))
		}
	})
	if c.bits.over() {
		return pos, fmt.Errorf("support: %w: ends early", ErrCorrupt)
	}
	return pos, nil
}

// next reads the gap to the next wanted element of a class.
func (c *coder) nextPlain(class int) {
	if c.bits.over() {
		c.left[class] = math.MaxInt
		return
	}
	c.left[class] = int(min(c.dens[class].code.get(&c.bits), math.MaxInt32))
}

// eachPlain calls fn for every element that may be coded, in the order of the format.
func (s *Support) eachPlain(start int64, n int, domain Bitmap, fn func(class, i int)) {
	_ = s.stripes(start, n, func(st stripe) error {
		r := s.rowClass(st.row)
		if domain != nil {
			domain.each(st.base+st.lo, st.base+st.hi, func(i int) {
				c := 0
				if s.col != nil {
					c = int(s.col[i-st.base])
				}
				fn(s.class(r, c), i)
			})
			return nil
		}
		for _, u := range s.runs {
			k := s.class(r, int(u.class))
			from, to := s.clip(u, st)
			for p := from; p < to; p++ {
				fn(k, st.base+s.column(p))
			}
		}
		return nil
	})
}
