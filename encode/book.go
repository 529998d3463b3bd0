package encode

import (
	"slices"

	"excpfs/codec"
)

// fitting gathers what the book of one moment is made from.
type fitting struct {
	hist   codec.Histogram
	spread *codec.Spread
	zero   bool
	some   codec.Bitmap
}

func (f *fitting) add(s *scratch, sp span) {
	f.some = append(f.some[:0], s.mask...)
	for _, p := range s.pos {
		if s.x[p] == 0 {
			f.zero = true
			f.some[p>>6] &^= 1 << (p & 63)
		}
	}
	f.hist.Add(s.x, f.some)
	f.spread.Add(sp.start, s.x, s.mask)
}

// book is the codebook and the model of the values of one moment.
type book struct {
	centres []float32 // with a zero where there are exact zeros in the support
	fitted  []float32 // for all other values
	zero    int       // index of that zero in centres, or -1
	values  *codec.Values
}

func (f *fitting) book(g codec.Grid, st stat, limit int) book {
	b := book{fitted: st.values, zero: -1, values: codec.FitValues(g, f.spread)}
	if !st.few {
		b.fitted = codec.FitCodebook(&f.hist, limit)
	}
	b.centres = b.fitted
	if f.zero || len(b.fitted) == 0 { // one centre can come out as zero
		at, found := slices.BinarySearch(b.fitted, 0)
		b.zero = at
		if !found {
			b.centres = slices.Insert(slices.Clone(b.fitted), at, 0)
		}
	}
	return b
}

// symbols assigns centres. Only exact zeros become zero: a second moment of zero
// beside a first moment divides by epsilon.
func (b *book) symbols(sym []uint8, x []float32, pos []uint32) []uint8 {
	if len(b.fitted) == 0 {
		sym = sized(sym, len(pos))
		clear(sym)
		return sym
	}
	sym = codec.Assign(sym, x, pos, b.fitted)
	if b.zero < 0 || len(b.centres) == len(b.fitted) {
		return sym
	}
	for j, p := range pos {
		switch {
		case x[p] == 0:
			sym[j] = uint8(b.zero)
		case int(sym[j]) >= b.zero:
			sym[j]++
		}
	}
	return sym
}
