package codec

import (
	"math"
	"math/bits"
)

// Spread gathers, over a whole tensor, the size of the kept values by row and column.
type Spread struct {
	grid           Grid
	row, col       profile // bins: quarters of an octave around the first values' RMS
	rowSum, colSum []float32
	sum            float64
	n              int
	ref            int // quarter of bin 0
}

// spreadBins is enough for four octaves; what is outside counts as the outermost.
const spreadBins = 16

// NewSpread is for a tensor of the given grid.
func NewSpread(g Grid) *Spread {
	s := &Spread{grid: g}
	s.row, s.col = newProfiles(g, spreadBins)
	s.rowSum, s.colSum = make([]float32, s.row.lines()), make([]float32, s.col.lines())
	return s
}

// Add gathers one chunk: x is the value of every element, mask those that are kept.
func (s *Spread) Add(start int64, x []float32, mask Bitmap) {
	if s.grid.Cols <= 0 {
		return
	}
	if s.n == 0 {
		n, sq := 0, 0.0
		mask.each(0, len(x), func(i int) { n++; sq += float64(x[i]) * float64(x[i]) })
		s.ref = quarter(float32(math.Sqrt(sq/float64(max(n, 1))))) - spreadBins/2
	}
	s.grid.rows(start, len(x), func(row int64, first, from, to int) { s.addRow(row, first, from, to, x, mask) })
}

// addRow adds the elements [from, to) of a chunk, which are of one row; first is where it begins.
func (s *Spread) addRow(row int64, first, from, to int, x []float32, mask Bitmap) {
	var line [spreadBins]uint32
	sum, n := float32(0), 0
	for w := from >> 6; w<<6 < to; w++ {
		v := mask.word(w, from, to)
		n += bits.OnesCount64(v)
		for ; v != 0; v &= v - 1 {
			i := w<<6 + bits.TrailingZeros64(v)
			size := math.Float32frombits(math.Float32bits(x[i]) &^ (1 << 31))
			bin := min(max(quarter(size)-s.ref, 0), spreadBins-1)
			line[bin]++
			sum += size
			if s.col.count != nil {
				s.col.count[(i-first)*spreadBins+bin]++
				s.colSum[i-first] += size
			}
		}
	}
	s.n += n
	s.sum += float64(sum)
	if s.row.count != nil {
		s.rowSum[row] += sum
		for b, n := range s.row.line(int(row)) {
			s.row.line(int(row))[b] = n + line[b]
		}
	}
}

// quarter numbers quarters of octaves: exponent and two bits of mantissa.
func quarter(x float32) int { return int(math.Float32bits(x) >> 21) }
