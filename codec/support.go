package codec

import (
	"encoding/binary"
	"fmt"
	"math/bits"
	"slices"
	"sync"
)

// Support is the model of where a tensor's coded elements are: density classes
// of rows and columns. The Golomb parameters of the classes stand in each chunk.
type Support struct{ axes }

// Append stores the model in front of others, ParseSupport reads it and returns the rest.
func (s *Support) Append(dst []byte) []byte { return s.append(dst) }

// ParseSupport is the inverse of Append.
func ParseSupport(g Grid, src []byte) (*Support, []byte, error) {
	a, rest, err := parseAxes(g, src)
	if err != nil {
		return nil, nil, fmt.Errorf("support: %w", err)
	}
	return &Support{a}, rest, nil
}

// gap is a run of elements between two that Decode wants to know of.
type gap struct {
	class uint8
	n     uint32
}

// tally is how many of all elements are coded.
type tally struct{ coded, all int }

// coder is the scratch of one chunk.
type coder struct {
	dens [maxClasses]density

	// for encoding
	count [maxClasses]tally
	gaps  []gap
	open  [maxClasses]int // 1 + index in gaps of the one that is counted; 0: none yet
	order Bitmap          // the mask in the order visited

	// for decoding
	left [maxClasses]int // to the next marked element of a class; below 0: not read yet
	bits bitReader
	buf  []byte   // of bits
	out  []uint32 // positions so far, with room for all
}

var coders = sync.Pool{New: func() any { return new(coder) }}

func newCoder() *coder {
	c := coders.Get().(*coder)
	*c = coder{gaps: c.gaps[:0], buf: c.buf[:0], order: c.order[:0]}
	return c
}

// Encode appends the positions of a chunk that begins at element start and has n elements.
// Elements of mask outside the domain are not coded: the caller nests only subsets.
func (s *Support) Encode(dst []byte, start int64, n int, mask, domain Bitmap) []byte {
	c := newCoder()
	defer coders.Put(c)
	if domain != nil {
		s.nested(start, n, domain, func(class, i int) { c.tally(class, 1, bit(mask, i)) })
		dst = c.parameters(dst, s, start, n)
		s.nested(start, n, domain, func(class, i int) { c.scan(class, mask, i, i+1) })
	} else {
		mask = c.inOrder(s, start, n, mask)
		s.pieces(start, n, func(class, from, to int) { c.tally(class, to-from, mask.ones(from, to)) })
		dst = c.parameters(dst, s, start, n)
		s.pieces(start, n, func(class, from, to int) { c.scan(class, mask, from, to) })
	}
	w := bitWriter{dst: dst}
	for _, g := range c.gaps {
		c.dens[g.class].code.put(&w, uint64(g.n))
	}
	return w.bytes()
}

func (c *coder) tally(class, all, coded int) {
	c.count[class].all += all
	c.count[class].coded += coded
}

// parameters chooses and appends the byte of each class.
func (c *coder) parameters(dst []byte, s *Support, start int64, n int) []byte {
	present, _ := s.present(start, n)
	for k, p := range present {
		if p {
			b := fitDensity(c.count[k].coded, c.count[k].all)
			dst = append(dst, b)
			c.dens[k] = densityOf(b)
		}
	}
	return dst
}

// scan notes the gaps between the marked elements of [from, to). A gap takes its place when
// it begins, so that gaps stand in the order in which Decode needs them.
func (c *coder) scan(class int, mask Bitmap, from, to int) {
	d := &c.dens[class]
	if d.code.m == 0 || from >= to {
		return
	}
	if c.open[class] == 0 {
		c.begin(class)
	}
	last := from
	for w := from >> 6; w<<6 < to; w++ {
		v := mask.word(w, from, to)
		if d.full {
			v = between(w, from, to) &^ v
		}
		for ; v != 0; v &= v - 1 {
			i := w<<6 + bits.TrailingZeros64(v)
			c.gaps[c.open[class]-1].n += uint32(i - last)
			c.begin(class)
			last = i + 1
		}
	}
	c.gaps[c.open[class]-1].n += uint32(to - last)
}

func (c *coder) begin(class int) {
	c.gaps = append(c.gaps, gap{class: uint8(class)})
	c.open[class] = len(c.gaps)
}

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

// Decode appends the positions (relative to the chunk) to pos in the order in which
// Values codes them. It never appends more than n.
func (s *Support) Decode(pos []uint32, src []byte, start int64, n int, domain Bitmap) ([]uint32, error) {
	if domain != nil && len(domain)*64 < n {
		return pos, fmt.Errorf("support: domain of %d words for %d elements", len(domain), n)
	}
	c := newCoder()
	defer coders.Put(c)
	if err := c.begins(s, src, start, n); err != nil {
		return pos, fmt.Errorf("support: %w", err)
	}
	have := len(pos)
	pos = slices.Grow(pos, n)
	c.out = pos[have:have:cap(pos)]
	err := s.stripes(start, n, func(st stripe) error {
		r := s.rowClass(st.row)
		switch {
		case domain == nil:
			for _, u := range s.runs {
				from, to := s.clip(u, st)
				c.run(s.class(r, int(u.class)), from, to, st.base, s.perm)
			}
		case s.col == nil:
			c.nestedRun(s.class(r, 0), domain, st.base+st.lo, st.base+st.hi)
		default:
			var class [256]uint8
			for _, u := range s.runs {
				class[u.class] = uint8(s.class(r, int(u.class)))
			}
			c.nestedRow(&class, s.col, domain, st)
		}
		return nil
	})
	if err == nil && c.bits.over() {
		err = fmt.Errorf("%w: ends early", ErrCorrupt)
	}
	if err != nil {
		return pos[:have], fmt.Errorf("support: %w", err)
	}
	return pos[:have+len(c.out)], nil
}

// never is a gap that no chunk reaches the end of.
const never = 1 << 30

// begins reads the parameters of the classes that occur and makes the rest the bit stream.
func (c *coder) begins(s *Support, src []byte, start int64, n int) error {
	present, err := s.present(start, n)
	if err != nil {
		return err
	}
	for k, p := range present {
		if !p {
			continue
		}
		if len(src) == 0 {
			return fmt.Errorf("%w: class %d is missing", ErrCorrupt, k)
		}
		c.dens[k], src = densityOf(src[0]), src[1:]
		c.dens[k].codes = codesOf(c.dens[k].code.m)
		if c.left[k] = never; c.dens[k].code.m > 0 {
			c.left[k] = -1
		}
	}
	c.bits = newBitReader(c.buf, src)
	c.buf = c.bits.src
	return nil
}

// next reads a gap: at most never, and never behind the end of the stream.
func (c *coder) next(d *density) int {
	v := c.bits.peek()
	if e := d.codes[v%(1<<codesBits)]; e != 0 && c.bits.pos < c.bits.end {
		c.bits.pos += uint(e.size())
		return e.step() - 1
	}
	if c.bits.over() {
		return never
	}
	return int(min(d.code.get(&c.bits), never))
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
