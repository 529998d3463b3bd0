package codec

import "math"

// profile is what the lines (rows or columns) of one axis look like: for each line how
// many of its elements fall in each of a few bins. nil: the axis has no classes.
type profile struct {
	bins  int
	count []uint32               // bins for each line
	level func(line int) float64 // log2 of what classes differ in, 0 for the tensor's mean
}

// newProfiles are for rows and columns; an axis that is too long, or has no second line
// to differ from, gets none.
func newProfiles(g Grid, bins int) (row, col profile) {
	if g.Rows > 1 && g.Cols > 1 {
		if g.Rows <= maxAxis {
			row = profile{bins: bins, count: make([]uint32, g.Rows*int64(bins))}
		}
		if g.Cols <= maxAxis {
			col = profile{bins: bins, count: make([]uint32, g.Cols*int64(bins))}
		}
	}
	return row, col
}

func (p profile) lines() int { return len(p.count) / max(1, p.bins) }

func (p profile) line(i int) []uint32 { return p.count[i*p.bins : (i+1)*p.bins] }

const (
	// maxLevel is the largest class number on either side of the mean.
	maxLevel = 8
	levels   = 2*maxLevel + 1
	// rounds of moving lines to the class that codes them in the fewest bits.
	rounds = 4
)

// sorting is a way to sort the lines of an axis into classes.
type sorting struct {
	class []uint8 // level of each line + maxLevel
	gain  float64 // bits saved, less those that the classes themselves take
}

// sort sorts lines by level, then moves each to the class in which its elements and its
// own class number take the fewest bits. overhead is what a class costs besides.
func (p profile) sort(steps, overhead float64) sorting {
	if p.count == nil {
		return sorting{}
	}
	s := sorting{class: make([]uint8, p.lines())}
	for i := range s.class {
		l := math.Round(steps * p.level(i))
		s.class[i] = uint8(maxLevel + min(max(l, -maxLevel), maxLevel))
	}
	for range rounds {
		p.move(s.class)
	}
	all := make([]float64, p.bins)
	sums, lines := p.sums(s.class)
	for c, sum := range sums {
		if lines[c] > 0 {
			s.gain -= entropy(sum) + overhead
		}
		for b, n := range sum {
			all[b] += n
		}
	}
	s.gain += entropy(all) - float64(8*len(appendPacked(nil, s.class, fseGain)))
	return s
}

// sums adds up the lines of each class.
func (p profile) sums(class []uint8) (sums [levels][]float64, lines [levels]int) {
	for c := range sums {
		sums[c] = make([]float64, p.bins)
	}
	for i, c := range class {
		lines[c]++
		line := p.line(i)
		sum := sums[c][:len(line)]
		for b, n := range line {
			sum[b] += float64(n)
		}
	}
	return sums, lines
}

// move is one round.
func (p profile) move(class []uint8) {
	sums, lines := p.sums(class)
	var own [levels]float64
	for c, sum := range sums { // sums become bits
		total := 0.0
		for _, n := range sum {
			total += n + 0.5
		}
		for b, n := range sum {
			sum[b] = math.Log2(total / (n + 0.5))
		}
		own[c] = math.Log2(float64(len(class)) / float64(lines[c]))
	}
	for i, c := range class {
		best, line := math.Inf(1), p.line(i)
		for k := max(0, int(c)-2); k <= min(levels-1, int(c)+2); k++ {
			if lines[k] == 0 {
				continue
			}
			bits, each := own[k], sums[k][:len(line)]
			for b, n := range line {
				bits += float64(n) * each[b]
			}
			if bits < best {
				best, class[i] = bits, uint8(k)
			}
		}
	}
}

// entropy of counts, in bits.
func entropy(counts []float64) (bits float64) {
	total := 0.0
	for _, n := range counts {
		total += n
	}
	for _, n := range counts {
		if n > 0 {
			bits += n * math.Log2(total/n)
		}
	}
	return bits
}

// bestAxes takes each axis where it pays, at the resolution (classes an octave) that pays most.
func bestAxes(g Grid, row, col profile, overhead float64, steps ...float64) axes {
	best, most := newAxes(g, nil, nil, 0, 1), 0.0
	for _, st := range steps {
		r, c := row.sort(st, overhead), col.sort(st, overhead)
		gain := max(r.gain, 0) + max(c.gain, 0)
		if gain <= most {
			continue
		}
		most = gain
		rows, rlow, rhigh := r.fromZero()
		cols, clow, chigh := c.fromZero()
		low, high := max(rlow+clow, -maxLevel), min(rhigh+chigh, maxLevel)
		best = newAxes(g, rows, cols, low-rlow-clow, high-low+1)
	}
	return best
}

// fromZero moves the classes to begin at 0 and returns the levels of the lowest and the
// highest; nothing where the axis does not pay.
func (s sorting) fromZero() (class []uint8, low, high int) {
	if s.gain <= 0 {
		return nil, 0, 0
	}
	l, h := uint8(levels), uint8(0)
	for _, c := range s.class {
		l, h = min(l, c), max(h, c)
	}
	for i := range s.class {
		s.class[i] -= l
	}
	return s.class, int(l) - maxLevel, int(h) - maxLevel
}
