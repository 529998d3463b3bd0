package codec

import (
	"math"
	"slices"
)

// part is some neighbouring classes.
type part struct {
	hist []uint32
	n    int
	bits float64
	from int
}

func newPart(hist []uint32, from int) part {
	n, bits := groupBits(hist)
	return part{hist, n, bits, from}
}

// join is p and the part behind it as one.
func (p part) join(q part) part {
	h := slices.Clone(p.hist)
	for s, n := range q.hist {
		h[s] += n
	}
	return newPart(h, p.from)
}

// group joins neighbouring classes as long as their tables cost more than they save. It
// tells the group of each class, the symbols of each group, and the cuts of the format.
func group(hist [][]uint32) (groupOf [maxClasses]uint8, sizes []int, cuts uint64) {
	parts := make([]part, len(hist))
	for k, h := range hist {
		parts[k] = newPart(h, k)
	}
	joined := make([]part, 0, len(parts)) // of each part and the next
	for i := range len(parts) - 1 {
		joined = append(joined, parts[i].join(parts[i+1]))
	}
	for len(joined) > 0 {
		best, gain := 0, math.Inf(-1)
		for i, j := range joined {
			if g := parts[i].bits + parts[i+1].bits - j.bits; g > gain {
				best, gain = i, g
			}
		}
		if gain < 0 {
			break
		}
		parts[best] = joined[best]
		parts = slices.Delete(parts, best+1, best+2)
		joined = slices.Delete(joined, best, best+1)
		for _, i := range []int{best - 1, best} {
			if i >= 0 && i < len(joined) {
				joined[i] = parts[i].join(parts[i+1])
			}
		}
	}
	for g, p := range parts {
		for k := p.from; k < len(hist); k++ {
			groupOf[k] = uint8(g)
		}
		if g > 0 {
			cuts |= 1 << (p.from - 1)
		}
		sizes = append(sizes, p.n)
	}
	return groupOf, sizes, cuts
}

// groupBits estimates the size of a group: entropy and table.
func groupBits(h []uint32) (n int, bits float64) {
	kinds, top := 0, 0
	for s, c := range h {
		if c > 0 {
			n += int(c)
			kinds++
			top = s
		}
	}
	switch kinds {
	case 0:
		return 0, 0
	case 1:
		return n, 16
	}
	return n, min(entropyBits(h, n)+float64(30+5*kinds), float64(8+n*lenBits(top)))
}
