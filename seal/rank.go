package seal

import (
	"cmp"
	"math"
	"path"
	"slices"
	"strconv"

	"excpfs/archive"
	"excpfs/store"
)

// How many candidates are measured, at most: in all, and of each kind, so that none crowds
// out the others.
const (
	maxCompared = 6
	maxPrevious = 2
	maxSiblings = 4
)

// ranked is a candidate worth measuring.
type ranked struct {
	store.Candidate
	previous bool // an earlier content of the path
}

// sibling: the same file name in a folder beside.
func sibling(c store.Candidate, p string) bool {
	return !c.Retained && path.Base(c.Path) == path.Base(p) &&
		path.Dir(path.Dir(c.Path)) == path.Dir(path.Dir(p))
}

// rank takes the candidates worth measuring, in the order given; siblings that are
// numbered like the path's folder by their distance to it, the earlier of two first.
// Retained ones that are listed before all others were at the path; where the others were
// is not known after a remount, so each may be an earlier content.
func rank(cands []store.Candidate, p string) []ranked {
	var prev, sibs, others []ranked
	seen, leading := map[archive.ID]bool{}, true
	for _, c := range cands {
		leading = leading && (c.Retained || c.Path == p)
		switch {
		case seen[c.Summary.ID]:
			continue
		case leading:
			prev = append(prev, ranked{c, true})
		case sibling(c, p):
			sibs = append(sibs, ranked{c, false})
		default:
			others = append(others, ranked{c, c.Retained})
		}
		seen[c.Summary.ID] = true
	}
	slices.SortStableFunc(sibs, func(a, b ranked) int {
		x, y := distance(a.Path, p), distance(b.Path, p)
		return cmp.Or(cmp.Compare(math.Abs(x), math.Abs(y)), cmp.Compare(x, y))
	})
	out := slices.Concat(prev[:min(maxPrevious, len(prev))], sibs[:min(maxSiblings, len(sibs))], others)
	return out[:min(maxCompared, len(out))]
}

// distance is by how much the last number in the name of one folder exceeds that of
// the other; infinite where the names differ in more than that.
func distance(a, b string) float64 {
	x, okx := numbered(path.Base(path.Dir(a)))
	y, oky := numbered(path.Base(path.Dir(b)))
	if !okx || !oky || x.before != y.before || x.after != y.after {
		return math.Inf(1)
	}
	return x.n - y.n
}

type number struct {
	before, after string
	n             float64
}

func numbered(s string) (number, bool) {
	end := len(s)
	for end > 0 && digits(s[end-1:]) == 0 {
		end--
	}
	begin := end
	for begin > 0 && digits(s[begin-1:end]) > 0 {
		begin--
	}
	n, err := strconv.ParseFloat(s[begin:end], 64)
	return number{s[:begin], s[end:], n}, err == nil
}
