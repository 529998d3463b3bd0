package codec

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"sync"
)

// Values is the model of the symbols at the support: scale classes of rows and columns.
type Values struct{ axes }

// FitValues makes the model.
func FitValues(g Grid, s *Spread) *Values {
	if s.n == 0 || !(s.sum > 0) || math.IsInf(s.sum, 0) {
		return &Values{newAxes(g, nil, nil, 0, 1)}
	}
	mean := s.sum / float64(s.n)
	size := func(p profile, sums []float32) profile { // log2 of the mean size
		p.level = func(i int) float64 {
			const weight = 0.5 // values of the mean size that are added, so that few are not extreme
			n := weight
			for _, c := range p.line(i) {
				n += float64(c)
			}
			return math.Log2((float64(sums[i]) + weight*mean) / (n * mean))
		}
		return p
	}
	return &Values{bestAxes(g, size(s.row, s.rowSum), size(s.col, s.colSum), 24, 4, 3, 2)}
}

// Append stores the model, ParseValues reads it and returns the rest.
func (v *Values) Append(dst []byte) []byte { return v.append(dst) }

// ParseValues is the inverse of Append.
func ParseValues(g Grid, src []byte) (*Values, []byte, error) {
	a, rest, err := parseAxes(g, src)
	if err != nil {
		return nil, nil, fmt.Errorf("values: %w", err)
	}
	return &Values{a}, rest, nil
}

// sorter is the scratch of one chunk: which class each symbol is in, and the symbols by group.
type sorter struct {
	class []uint8
	syms  []uint8
}

var sorters = sync.Pool{New: func() any { return new(sorter) }}

// resize makes b n long; what is in it is left as it is.
func resize(b []uint8, n int) []uint8 { return slices.Grow(b[:0], n)[:n] }

// classify finds to[class] of each position, in s.class. Positions ascend by row.
func (v *Values) classify(s *sorter, start int64, pos []uint32, to *[maxClasses]uint8) error {
	s.class = resize(s.class, len(pos))
	if v.none() {
		clear(s.class)
		return nil
	}
	if start < 0 || start > math.MaxInt64-math.MaxUint32 {
		return fmt.Errorf("%w: chunk at element %d", ErrCorrupt, start)
	}
	var tab [256]uint8
	for i, row := 0, int64(-1); i < len(pos); {
		r := (start + int64(pos[i])) / v.grid.Cols
		if r >= v.grid.Rows {
			return fmt.Errorf("%w: position %d is outside the grid", ErrCorrupt, pos[i])
		}
		if row < 0 || v.rowClass(r) != v.rowClass(row) {
			for _, u := range v.runs {
				tab[u.class] = to[v.class(v.rowClass(r), int(u.class))]
			}
		}
		row = r
		i += v.classifyRow(s.class[i:], pos[i:], r*v.grid.Cols-start, &tab)
	}
	return nil
}

// classifyRow does the positions of one row, which begins at position first, and returns
// their number.
func (v *Values) classifyRow(class []uint8, pos []uint32, first int64, tab *[256]uint8) int {
	for i, p := range pos {
		at := int64(p) - first
		if uint64(at) >= uint64(v.grid.Cols) {
			return i
		}
		g := uint8(0)
		if col := v.col; at < int64(len(col)) {
			g = col[at]
		}
		class[i] = tab[g]
	}
	return len(pos)
}

// eachClass is classes as they are.
var eachClass = func() (t [maxClasses]uint8) {
	for i := range t {
		t[i] = uint8(i)
	}
	return t
}()

// Encode appends the symbols of one chunk: sym[i] stands at pos[i], in the order Support gives.
func (v *Values) Encode(dst []byte, start int64, pos []uint32, sym []uint8) []byte {
	if v.classes == 1 {
		return appendPacked(dst, sym, fseGain)
	}
	s := sorters.Get().(*sorter)
	defer sorters.Put(s)
	_ = v.classify(s, start, pos, &eachClass)
	kinds := int(maxByte(sym)) + 1
	hist := make([][]uint32, v.classes)
	for k := range hist {
		hist[k] = make([]uint32, kinds)
	}
	for i, c := range s.class {
		hist[c][sym[i]]++
	}
	groupOf, sizes, cuts := group(hist)
	dst = binary.AppendUvarint(dst, cuts)
	s.syms = resize(s.syms, len(sym))
	var next [maxClasses]int
	for g := 1; g < len(sizes); g++ {
		next[g] = next[g-1] + sizes[g-1]
	}
	for i, c := range s.class {
		g := groupOf[c]
		s.syms[next[g]] = sym[i]
		next[g]++
	}
	at := 0
	for _, n := range sizes {
		dst = appendPacked(dst, s.syms[at:at+n], fseGain)
		at += n
	}
	return dst
}

// Decode fills sym.
func (v *Values) Decode(sym []uint8, src []byte, start int64, pos []uint32) error {
	if len(sym) != len(pos) {
		return fmt.Errorf("values: %d symbols for %d positions", len(sym), len(pos))
	}
	if err := v.decode(sym, src, start, pos); err != nil {
		return fmt.Errorf("values: %w", err)
	}
	return nil
}

func (v *Values) decode(sym []uint8, src []byte, start int64, pos []uint32) error {
	if v.classes == 1 {
		return unpackAll(sym, src)
	}
	cuts, n := binary.Uvarint(src)
	if n <= 0 || cuts>>(v.classes-1) != 0 {
		return fmt.Errorf("%w: groups", ErrCorrupt)
	}
	src = src[n:]
	if cuts == 0 {
		return unpackAll(sym, src)
	}
	s := sorters.Get().(*sorter)
	defer sorters.Put(s)
	var groupOf [maxClasses]uint8
	g := uint8(0)
	for k := 1; k < v.classes; k++ {
		g += uint8(cuts >> (k - 1) & 1)
		groupOf[k] = g
	}
	if err := v.classify(s, start, pos, &groupOf); err != nil {
		return err
	}
	count := histogram(s.class)
	s.syms = resize(s.syms, len(sym))
	var next [maxClasses]int
	for k, at := 0, 0; k <= int(g); k++ {
		next[k] = at
		n := int(count[k])
		var err error
		if src, err = unpack(s.syms[at:at+n], src); err != nil {
			return err
		}
		at += n
	}
	if len(src) > 0 {
		return errTail(src)
	}
	syms := s.syms
	for i, k := range s.class[:len(sym)] {
		k %= maxClasses
		sym[i] = syms[next[k]]
		next[k]++
	}
	return nil
}

func errTail(src []byte) error { return fmt.Errorf("%w: %d bytes too many", ErrCorrupt, len(src)) }

// unpackAll is unpack of everything that is left.
func unpackAll(dst, src []byte) error {
	rest, err := unpack(dst, src)
	if err == nil && len(rest) > 0 {
		err = errTail(rest)
	}
	return err
}
