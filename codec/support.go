package codec

import (
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
