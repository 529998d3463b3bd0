package codec

import (
	"encoding/binary"
	"slices"
)

// pieces calls fn for every run of elements of one class: [from, to) in the order visited.
func (s *Support) pieces(start int64, n int, fn func(class, from, to int)) {
	at := 0
	_ = s.stripes(start, n, func(st stripe) error {
		for _, u := range s.runs {
			from, to := s.clip(u, st)
			fn(s.class(s.rowClass(st.row), int(u.class)), at, at+to-from)
			at += to - from
		}
		return nil
	})
}

// inOrder is the mask in the order visited.
func (c *coder) inOrder(s *Support, start int64, n int, mask Bitmap) Bitmap {
	if s.perm == nil {
		return mask
	}
	c.order = slices.Grow(c.order[:0], len(mask))[:(n+63)/64]
	acc, at := uint64(0), 0
	_ = s.stripes(start, n, func(st stripe) error {
		for _, u := range s.runs {
			from, to := s.clip(u, st)
			for _, col := range s.perm[from:to] {
				i := st.base + int(col)
				acc |= mask[i>>6] >> (i & 63) & 1 << (at & 63)
				if at++; at&63 == 0 {
					c.order[at>>6-1], acc = acc, 0
				}
			}
		}
		return nil
	})
	if at&63 != 0 {
		c.order[at>>6] = acc
	}
	return c.order
}

// run decodes the elements of one class at the places [from, to) of the order of columns.
func (c *coder) run(class, from, to, base int, perm []uint32) {
	if from >= to {
		return
	}
	d := &c.dens[class]
	left := c.left[class]
	if left < 0 {
		left = c.next(d)
	}
	if d.full {
		for left < to-from {
			c.emit(from, from+left, base, perm)
			from += left + 1
			left = c.next(d)
		}
		c.emit(from, to, base, perm)
		c.left[class] = left - (to - from)
		return
	}
	if from+left < to {
		left = c.sparse(d, from+left, to, base, perm) - from
	}
	c.left[class] = left - (to - from)
}

// sparse emits place p and those that the gaps lead to from there, up to end, and returns the
// first place behind. It is next with as many codes to a load as there are bits for, two at a
// time where they are short.
func (c *coder) sparse(d *density, p, end, base int, perm []uint32) int {
	src, at := c.bits.src, c.bits.pos
	v, have := uint64(0), uint(0) // bits at at
	out, n := c.out[:cap(c.out)], len(c.out)
	for p < end {
		out[n] = place(p, base, perm)
		n++
		if have < codesBits {
			if i := at >> 3; i <= uint(len(src)-8) {
				v, have = binary.LittleEndian.Uint64(src[i:])>>(at&7), 64-at&7
			}
		}
		e := d.codes[v%(1<<codesBits)]
		if e == 0 || have < codesBits {
			c.bits.pos, have = at, 0
			p += c.next(d) + 1
			at = c.bits.pos
			continue
		}
		size := e.size()
		p += e.step()
		if e.two() && p < end {
			out[n] = place(p, base, perm)
			n++
			size = e.size2()
			p += e.step2()
		}
		v >>= size & 63
		have -= size
		at += size
	}
	c.bits.pos = at
	c.out = out[:n]
	return p
}

// place is the element at place p of the order of columns.
func place(p, base int, perm []uint32) uint32 {
	if perm == nil {
		return uint32(base + p)
	}
	return uint32(base) + perm[p]
}

// emit appends the columns at [from, to).
func (c *coder) emit(from, to, base int, perm []uint32) {
	n := len(c.out)
	c.out = c.out[:n+to-from]
	out := c.out[n:]
	if perm == nil {
		for i := range out {
			out[i] = uint32(base + from + i)
		}
		return
	}
	for i, p := range perm[from:to] {
		out[i] = uint32(base) + p
	}
}
