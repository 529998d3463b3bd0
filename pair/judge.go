package pair

import (
	"math"
	"slices"
)

// Norms and biases are too small to tell one by one. The scores of all that an order
// settles, together, must be trust times what independent values give, and the
// difference to any other order apart times its own, or agrees times where names in
// natural order say the same.
const (
	trust  = 4.2
	apart  = 3
	agrees = 1
	proven = 3 // slots for each open one that nothing is known of

	bettered = 4
	near     = 64 // slots

	maxOpen = 1 << 16 // samples of a judgement: of a thousand elements each
)

// judge settles what the best of the orders that fit a group says. Where another is as
// good, what they say differently is declined.
func (s *search) judge(l lineup, found [][]int) error {
	j := newJudgement(s, l, found)
	if len(j.open) == 0 {
		return nil
	}
	if len(j.slots)+len(j.weights) > maxOpen {
		s.declineGroup(l.group, "too many parameters of its group are open")
		return nil
	}
	if err := j.read(); err != nil {
		return err
	}
	top := j.best(found)
	switch total := j.total(found[top], nil); {
	case total.n == 0 && len(l.slots) < proven*len(j.open):
		s.declineGroup(l.group, "no base is known to verify the order with")
	case total.n > 0 && total.z() < trust:
		s.declineGroup(l.group, "its moments do not follow the weights in the order of the modules")
	default:
		j.settle(found[top], j.doubts(found, top))
	}
	return nil
}

// best is the order with the highest score.
func (j *judgement) best(found [][]int) (top int) {
	for k := range found {
		if j.total(found[k], nil).sum > j.total(found[top], nil).sum {
			top = k
		}
	}
	return top
}

// doubts are the slots where an order that is about as good as the best has another weight.
func (j *judgement) doubts(found [][]int, top int) map[int]int {
	doubt := map[int]int{}
	for k, weights := range found {
		enough := float64(apart)
		if top < k { // arrange finds orders nearest to the natural one first
			enough = agrees
		}
		d, e := j.total(found[top], weights), j.total(weights, found[top])
		if n := d.n + e.n; k == top || n > 0 && d.sum-e.sum >= enough*math.Sqrt(n) {
			continue
		}
		for _, i := range j.open {
			if weights[i] != found[top][i] {
				doubt[i] = weights[i]
			}
		}
	}
	return doubt
}

// score is a sum of correlations, each times the number of values that it rests on.
type score struct{ sum, n float64 }

// compare gives no score where there is nothing to compare.
func compare(direction, change sample) score {
	if direction.v == nil || change.v == nil {
		return score{}
	}
	return score{direction.n * correlation(direction, change), direction.n}
}

func (c score) z() float64 { return c.sum / math.Sqrt(max(1, c.n)) }

// denies reports whether the data speak against a pair that shape or order suggest:
// with as many values, moments that belong to a weight show it.
func (c score) denies() bool { return c.n >= 2000 && c.z() < 2.5 }

// judgement holds the open slots of a group and the scores of the weights that orders
// have there.
type judgement struct {
	s              *search
	l              lineup
	open           []int // indexes of slots
	slots, weights map[int]sample
	scores         map[[2]int]score // by slot and weight
}

func newJudgement(s *search, l lineup, found [][]int) *judgement {
	j := &judgement{s: s, l: l, slots: map[int]sample{}, weights: map[int]sample{}, scores: map[[2]int]score{}}
	for i, p := range l.slots {
		if !s.params[p].open() {
			continue
		}
		j.open = append(j.open, i)
		j.slots[i] = sample{}
		for _, order := range found {
			j.weights[order[i]] = sample{}
			j.scores[[2]int{i, order[i]}] = score{}
		}
	}
	return j
}

func (j *judgement) read() (err error) {
	limit := min(sampleElems, sampleBytes/4/int64(len(j.weights)+len(j.slots)))
	for w := range j.weights {
		x := j.s.weights[w]
		if x.Residual == nil {
			continue
		}
		if j.weights[w], err = newPlan(x.Shape, limit).residual(j.s.ctx, x.Residual); err != nil {
			return err
		}
	}
	for i := range j.slots {
		x := j.s.params[j.l.slots[i]]
		if j.slots[i], err = newPlan(x.Shape, limit).direction(j.s.ctx, x.ExpAvg, x.ExpAvgSq); err != nil {
			return err
		}
	}
	for pair := range j.scores {
		j.scores[pair] = compare(j.slots[pair[0]], j.weights[pair[1]])
	}
	return nil
}

// total adds up the scores of an order, where it differs from another if that is given.
func (j *judgement) total(order, other []int) (t score) {
	for _, i := range j.open {
		if other == nil || order[i] != other[i] {
			c := j.scores[[2]int{i, order[i]}]
			t.sum, t.n = t.sum+c.sum, t.n+c.n
		}
	}
	return t
}

func (j *judgement) settle(order []int, doubt map[int]int) {
	for k, i := range j.open {
		p, w := j.l.slots[i], order[i]
		other, doubtful := doubt[i]
		switch name := j.s.weights[w].Name; {
		case doubtful:
			j.s.decline(p, "%s and %s cannot be told apart", name, j.s.weights[other].Name)
		case len(j.s.weights[w].Shape) > 1 && j.scores[[2]int{i, w}].denies():
			j.s.decline(p, "its moments do not follow the change of %s, whose turn it is", name)
		case j.better(order, k) != none:
			j.s.decline(p, "its turn is that of %s, but its moments follow the change of %s", name, j.s.weights[j.better(order, k)].Name)
		default:
			j.s.settle(p, w)
		}
	}
}

// better is a weight whose turn comes not much earlier or later and which the k-th open
// slot follows by far more than its own. On real chains nothing true is bettered by 2.2.
func (j *judgement) better(order []int, k int) int {
	own := order[j.open[k]]
	slot, have := j.slots[j.open[k]], compare(j.slots[j.open[k]], j.weights[own])
	if have.n == 0 {
		return none
	}
	for _, i := range j.open[max(0, k-near):min(len(j.open), k+near)] {
		w := order[i]
		if w == own || !slices.Equal(j.s.weights[w].Shape, j.s.weights[own].Shape) {
			continue
		}
		if c := compare(slot, j.weights[w]); c.sum-have.sum >= bettered*math.Sqrt(c.n+have.n) {
			return w
		}
	}
	return none
}
