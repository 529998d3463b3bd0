package codec

import (
	"math"
	"math/bits"
)

// Counts gathers, over a whole tensor, what FitSupport needs: coded elements by row and
// column among those of the domain, when the support is nested in one, or among all.
type Counts struct {
	grid     Grid
	row, col profile // bins: not coded, coded
	all      [2]uint64
	whole    uint32 // rows whose columns are not counted yet in bin 0, which may be below 0 modulo 2^32 until then
}

// NewCounts is for a tensor of the given grid. (Whether it is nested shows in Add.)
func NewCounts(g Grid, nested bool) *Counts {
	c := &Counts{grid: g}
	c.row, c.col = newProfiles(g, 2)
	return c
}

// Add counts one chunk that begins at element start. domain is nil unless nested.
func (c *Counts) Add(start int64, n int, mask, domain Bitmap) {
	c.grid.rows(start, n, func(row int64, first, from, to int) {
		if domain == nil {
			c.addRow(row, first, from, to, mask)
		} else {
			c.addNested(row, first, from, to, mask, domain)
		}
	})
}

func (c *Counts) addRow(row int64, first, from, to int, mask Bitmap) {
	coded := 0
	for w := from >> 6; w<<6 < to; w++ {
		v := mask.word(w, from, to)
		coded += bits.OnesCount64(v)
		if c.col.count == nil {
			continue
		}
		for ; v != 0; v &= v - 1 {
			at := 2 * (w<<6 + bits.TrailingZeros64(v) - first)
			c.col.count[at]--
			c.col.count[at+1]++
		}
	}
	c.addLine(row, coded, to-from)
	switch {
	case int64(to-from) == c.grid.Cols:
		c.whole++
	case c.col.count != nil:
		for i := from - first; i < to-first; i++ {
			c.col.count[2*i]++
		}
	}
}

func (c *Counts) addNested(row int64, first, from, to int, mask, domain Bitmap) {
	coded, all := 0, 0
	for w := from >> 6; w<<6 < to; w++ {
		v := domain.word(w, from, to)
		all += bits.OnesCount64(v)
		coded += bits.OnesCount64(v & mask[w])
		if c.col.count == nil {
			continue
		}
		for ; v != 0; v &= v - 1 {
			b := bits.TrailingZeros64(v)
			c.col.count[2*(w<<6+b-first)+int(mask[w]>>b&1)]++
		}
	}
	c.addLine(row, coded, all)
}

// addLine adds a row or a piece of one.
func (c *Counts) addLine(row int64, coded, all int) {
	c.all[0] += uint64(all - coded)
	c.all[1] += uint64(coded)
	if c.row.count != nil {
		line := c.row.line(int(row))
		line[0] += uint32(all - coded)
		line[1] += uint32(coded)
	}
}

// settle counts whole rows in the columns.
func (c *Counts) settle() {
	for i := 0; i < len(c.col.count); i += 2 {
		c.col.count[i] += c.whole
	}
	c.whole = 0
}

// rows calls fn for each row, or piece of one, of n elements from start: [from, to) are its
// places among them, first is where the row begins, below 0 where that is before start.
func (g Grid) rows(start int64, n int, fn func(row int64, first, from, to int)) {
	if g.Cols <= 0 {
		return
	}
	for at := 0; at < n; {
		row, col := (start+int64(at))/g.Cols, (start+int64(at))%g.Cols
		to := at + int(min(g.Cols-col, int64(n-at)))
		fn(row, at-int(col), at, to)
		at = to
	}
}

// classOverhead is what a class costs each chunk, in bits: its parameter and its last gap.
const classOverhead = 16

// FitSupport makes the model; classes that do not pay for themselves are left out.
func FitSupport(g Grid, c *Counts) *Support {
	c.settle()
	none, coded := float64(c.all[0]), float64(c.all[1])
	mean := math.Log2((coded + 0.5) / (none + 0.5))
	density := (coded + 0.5) / (none + coded + 1)
	odds := func(p profile) profile { // log2 of the odds, with one more element of the mean density
		p.level = func(i int) float64 {
			n := p.line(i)
			return math.Log2((float64(n[1])+density)/(float64(n[0])+1-density)) - mean
		}
		return p
	}
	return &Support{bestAxes(g, odds(c.row), odds(c.col), classOverhead, 3, 2, 1)}
}
