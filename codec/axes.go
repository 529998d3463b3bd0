package codec

import (
	"fmt"
	"math"
	"sort"
)

const (
	// maxAxis is the longest axis that may have classes: what a model can make a reader allocate.
	maxAxis = 1 << 18
	// maxClasses is the most classes an element can be in.
	maxClasses = 32
)

// axes sorts the elements of a tensor into classes: row class + column class, clamped.
type axes struct {
	grid     Grid
	row, col []uint8 // nil: class 0 everywhere
	shift    int     // taken off the sum
	classes  int     // at least 1

	perm []uint32 // columns in the order of their classes; nil: as they stand
	runs []run    // of equal column class in perm
}

type run struct {
	class    uint8 // of the columns
	from, to int   // in perm
}

// newAxes makes the order of columns. row and col are kept.
func newAxes(g Grid, row, col []uint8, shift, classes int) axes {
	a := axes{grid: g, row: row, col: col, shift: shift, classes: classes}
	if col == nil {
		a.runs = []run{{0, 0, int(g.Cols)}}
		return a
	}
	var at [257]int
	for _, c := range col {
		at[int(c)+1]++
	}
	for c := range 256 {
		if at[c+1] > 0 {
			a.runs = append(a.runs, run{uint8(c), at[c], at[c] + at[c+1]})
		}
		at[c+1] += at[c]
	}
	a.perm = make([]uint32, len(col))
	for i, c := range col {
		a.perm[at[c]] = uint32(i)
		at[c]++
	}
	return a
}

// none reports whether all elements are in one class.
func (a *axes) none() bool { return a.row == nil && a.col == nil }

func (a *axes) rowClass(r int64) int {
	if a.row == nil {
		return 0
	}
	return int(a.row[r])
}

// class of an element whose row and column classes are r and c.
func (a *axes) class(r, c int) int { return min(max(r+c-a.shift, 0), a.classes-1) }

// stripe is a row of the grid, or as much of one as lies in a chunk.
type stripe struct {
	row    int64
	base   int // position in the chunk of the row's first column; negative where the chunk begins later
	lo, hi int // columns in the chunk
}

// stripes calls fn for each row that n elements from start touch. Without classes the
// chunk is one stripe.
func (a *axes) stripes(start int64, n int, fn func(stripe) error) error {
	if n == 0 {
		return nil
	}
	if a.none() {
		return fn(stripe{0, 0, 0, n})
	}
	if start < 0 || start > math.MaxInt64-int64(n) || a.grid.Cols <= 0 || (start+int64(n)-1)/a.grid.Cols >= a.grid.Rows {
		return fmt.Errorf("%w: elements %d+%d of a grid of %dx%d", ErrCorrupt, start, n, a.grid.Rows, a.grid.Cols)
	}
	for at := 0; at < n; {
		r, lo := (start+int64(at))/a.grid.Cols, (start+int64(at))%a.grid.Cols
		hi := min(a.grid.Cols, lo+int64(n-at))
		if err := fn(stripe{r, at - int(lo), int(lo), int(hi)}); err != nil {
			return err
		}
		at += int(hi - lo)
	}
	return nil
}

// clip cuts a run of columns to those in a stripe.
func (a *axes) clip(r run, s stripe) (from, to int) {
	switch {
	case a.none():
		return s.lo, s.hi
	case s.lo == 0 && int64(s.hi) == a.grid.Cols:
		return r.from, r.to
	case a.perm == nil:
		return max(r.from, s.lo), min(r.to, s.hi)
	}
	cols := a.perm[r.from:r.to] // ascending
	from = sort.Search(len(cols), func(i int) bool { return int(cols[i]) >= s.lo })
	to = sort.Search(len(cols), func(i int) bool { return int(cols[i]) >= s.hi })
	return r.from + from, r.from + to
}

// column at a place of the order.
func (a *axes) column(i int) int {
	if a.perm == nil {
		return i
	}
	return int(a.perm[i])
}

// present tells which classes occur in a chunk.
func (a *axes) present(start int64, n int) (p [maxClasses]bool, err error) {
	var seen [256]bool
	err = a.stripes(start, n, func(s stripe) error {
		r := a.rowClass(s.row)
		if seen[r] && s.lo == 0 && int64(s.hi) == a.grid.Cols {
			return nil
		}
		seen[r] = s.lo == 0 && int64(s.hi) == a.grid.Cols
		for _, u := range a.runs {
			if from, to := a.clip(u, s); from < to {
				p[a.class(r, int(u.class))] = true
			}
		}
		return nil
	})
	return p, err
}

// Flags of a stored axes.
const (
	hasRows = 1 << iota
	hasCols
	maxAxesFlag
)

func (a *axes) append(dst []byte) []byte {
	flags := byte(0)
	if a.row != nil {
		flags |= hasRows
	}
	if a.col != nil {
		flags |= hasCols
	}
	dst = append(dst, flags)
	if flags == 0 {
		return dst
	}
	dst = append(dst, byte(a.shift), byte(a.classes))
	dst = appendPacked(dst, a.row, fseGain)
	return appendPacked(dst, a.col, fseGain)
}

func parseAxes(g Grid, src []byte) (axes, []byte, error) {
	if len(src) == 0 || src[0] >= maxAxesFlag {
		return axes{}, nil, fmt.Errorf("%w: class flags", ErrCorrupt)
	}
	flags, src := src[0], src[1:]
	if flags == 0 {
		return newAxes(g, nil, nil, 0, 1), src, nil
	}
	if len(src) < 2 || src[1] == 0 || src[1] > maxClasses {
		return axes{}, nil, fmt.Errorf("%w: classes", ErrCorrupt)
	}
	shift, classes, src := int(src[0]), int(src[1]), src[2:]
	var row, col []uint8
	var err error
	if flags&hasRows != 0 {
		if row, src, err = parseClasses(g.Rows, src); err != nil {
			return axes{}, nil, err
		}
	}
	if flags&hasCols != 0 {
		if col, src, err = parseClasses(g.Cols, src); err != nil {
			return axes{}, nil, err
		}
	}
	return newAxes(g, row, col, shift, classes), src, nil
}

func parseClasses(n int64, src []byte) ([]uint8, []byte, error) {
	if n <= 0 || n > maxAxis {
		return nil, nil, fmt.Errorf("%w: classes of an axis of %d", ErrCorrupt, n)
	}
	c := make([]uint8, n)
	src, err := unpack(c, src)
	return c, src, err
}
