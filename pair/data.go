package pair

import (
	"math"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	"gonum.org/v1/gonum/blas/blas32"
)

// A pair is certain by its data alone where the correlation is at least surest, and
// least times what independent values would give, and margin times that of anything
// else that either of the two could belong to.
const (
	surest = 0.05
	least  = 7
	margin = 2
)

const (
	windowSize = 64      // parameters that are first searched among their like in order
	classSize  = 1400    // of one shape that are all compared with all
	searchDots = 8 << 30 // multiplications of one search at most
)

// byData settles what follows its own moments, in each class of shapes: first what
// stands about where the order of names lets expect it, then the rest of the class
// with the rest.
func (s *search) byData() error {
	weight := func(w int) bool {
		return s.openWeight(w) && s.weights[w].Residual != nil && len(s.weights[w].Shape) > 1
	}
	for _, c := range s.classes(weight, s.openParam) {
		if len(c.weights) == len(c.params) {
			for _, win := range s.windows(c) {
				if err := s.match(win); err != nil {
					return err
				}
			}
		}
		c.weights = slices.DeleteFunc(c.weights, func(w int) bool { return s.owner[w] != none })
		c.params = slices.DeleteFunc(c.params, func(p int) bool { return !s.params[p].open() })
		if max(len(c.weights), len(c.params)) > classSize {
			for _, p := range c.params {
				s.decline(p, "too many weights of its shape to compare it with")
			}
			continue
		}
		if err := s.match(c); err != nil {
			return err
		}
	}
	return nil
}

// windows cuts a large class into parts that have whole layers, whatever the order
// within. A small one has none: it is searched at once.
func (s *search) windows(c class) (all []class) {
	from := 0
	for i := range c.weights {
		next := i + 1
		whole := next == len(c.weights) || instance(s.weights[c.weights[i]].Name) != instance(s.weights[c.weights[next]].Name)
		if next-from >= windowSize && whole || next-from >= 4*windowSize {
			all = append(all, class{c.weights[from:next], c.params[from:next]})
			from = next
		}
	}
	return all
}

// match settles the pairs of a class that are certain and keeps why others are not.
func (s *search) match(c class) error {
	if len(c.weights) == 0 || len(c.params) == 0 {
		return nil
	}
	rho, n, err := s.scores(c)
	if err != nil {
		return err
	}
	bestOfParam, bestOfWeight := bests(rho, len(c.weights))
	for i, p := range c.params {
		b := bestOfParam[i]
		switch {
		case b.at == none || b.score < bar(n[i]):
			s.decline(p, "its moments follow the change of no weight of its shape")
		case b.score < margin*b.second:
			s.decline(p, "its moments follow the changes of several weights alike")
		case bestOfWeight[b.at].at != i || b.score < margin*bestOfWeight[b.at].second:
			s.decline(p, "other moments follow the change of %s as well", s.weights[c.weights[b.at]].Name)
		default:
			s.settle(p, c.weights[b.at])
		}
	}
	return nil
}

// bar is the least score of a certain pair of n values.
func bar(n float64) float64 { return max(surest, least/math.Sqrt(max(1, n))) }

// best is the highest score in a row or column, and the next.
type best struct {
	at            int
	score, second float64
}

func (b *best) take(at int, score float64) {
	if b.at == none || score > b.score {
		b.second = b.score
		b.at, b.score = at, score
	} else if score > b.second {
		b.second = score
	}
}

func bests(rho [][]float64, cols int) (rows, columns []best) {
	rows = slices.Repeat([]best{{at: none}}, len(rho))
	columns = slices.Repeat([]best{{at: none}}, cols)
	for i, row := range rho {
		for j, r := range row {
			rows[i].take(j, r)
			columns[j].take(i, r)
		}
	}
	return rows, columns
}

// scores correlates all parameters of a class with all weights, and says how many
// independent values of each parameter that rests on.
func (s *search) scores(c class) (rho [][]float64, n []float64, err error) {
	k := int64(len(c.weights) + len(c.params))
	most := min(sampleElems, sampleBytes/4/k, searchDots/int64(len(c.weights))/int64(len(c.params)))
	p := newPlan(s.weights[c.weights[0]].Shape, most)
	changes, directions := make([]sample, len(c.weights)), make([]sample, len(c.params))
	err = parallel(len(changes)+len(directions), func(i int) (err error) {
		if i < len(changes) {
			changes[i], err = p.residual(s.ctx, s.weights[c.weights[i]].Residual)
			return err
		}
		i -= len(changes)
		x := s.params[c.params[i]]
		directions[i], err = p.direction(s.ctx, x.ExpAvg, x.ExpAvgSq)
		return err
	})
	if err != nil {
		return nil, nil, err
	}
	rho, n = make([][]float64, len(directions)), make([]float64, len(directions))
	err = parallel(len(directions), func(i int) error {
		rho[i], n[i] = make([]float64, len(changes)), directions[i].n
		for j := range changes {
			rho[i][j] = correlation(directions[i], changes[j])
		}
		return s.ctx.Err()
	})
	return rho, n, err
}

func correlation(a, b sample) float64 {
	if a.v == nil || b.v == nil {
		return 0
	}
	return float64(blas32.Dot(vector(a.v), vector(b.v)))
}

func vector(v []float32) blas32.Vector { return blas32.Vector{N: len(v), Inc: 1, Data: v} }

// parallel calls fn for 0..n-1 on all cores; the error is that of the first that has one.
func parallel(n int, fn func(i int) error) error {
	var next atomic.Int64
	errs := make([]error, n)
	var wg sync.WaitGroup
	for range min(n, runtime.GOMAXPROCS(0)) {
		wg.Go(func() {
			for i := next.Add(1) - 1; i < int64(n); i = next.Add(1) - 1 {
				if errs[i] = fn(int(i)); errs[i] != nil {
					return
				}
			}
		})
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
