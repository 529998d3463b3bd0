package pair

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"excpfs/tensor"
)

// Reader fills dst with the values of the elements of a tensor from number at on.
// It is called from several goroutines.
type Reader func(ctx context.Context, dst []float32, at int64) error

// Weight is a tensor that moments may belong to.
type Weight struct {
	Name     string
	DType    tensor.DType
	Shape    []int64
	Residual Reader // what it differs from its base by; nil where there is no base
}

// Param is a parameter of an optimizer. One without moments has never had a
// gradient: it only holds its place in the group.
type Param struct {
	Key              string // as tensor.RoleOf gives it
	Shape            []int64
	ExpAvg, ExpAvgSq Reader
	Name             string // of param_names; "" where there are none
}

// Group is a parameter group in the order of the optimizer.
type Group []Param

// Declined is a parameter that belongs to no weight for certain.
type Declined struct{ Key, Reason string }

// Result gives each parameter with moments its weight or a reason.
type Result struct {
	Weights  map[string]string // names by the keys of the parameters
	Declined []Declined        // in the order of the groups
}

// Find pairs parameters with weights, each weight at most once. Of several weights of a
// name or parameters of a key it takes the first. known is a pairing
// found earlier in the same run: it is taken where it still holds. The error is
// that of a Reader or of ctx.
func Find(ctx context.Context, weights []Weight, groups []Group, known map[string]string) (*Result, error) {
	s := newSearch(ctx, weights, groups)
	s.named()
	s.flats()
	for _, step := range []func() error{func() error { return s.remembered(known) }, s.byData, s.byOrder, s.byShape} {
		if s.done() {
			break
		}
		if err := step(); err != nil {
			return nil, fmt.Errorf("pair moments with weights: %w", err)
		}
	}
	return s.result(), nil
}

// none is a weight or a parameter that is not there.
const none = -1

// param is a parameter and its place.
type param struct {
	*Param
	group, place int
	weight       int // that it belongs to, or none
	reason       string
}

func (p *param) moments() bool { return p.ExpAvg != nil && p.ExpAvgSq != nil }

// called is the name that the parameter itself goes by, "" for a number.
func (p *param) called() string {
	if p.Name == "" && !numbered(p.Key) {
		return p.Key
	}
	return p.Name
}

func (p *param) open() bool { return p.weight == none && p.moments() }

type search struct {
	ctx     context.Context
	weights []Weight
	params  []param // of all groups, one after another
	groups  int
	owner   []int // of each weight: the parameter, or none
}

func newSearch(ctx context.Context, weights []Weight, groups []Group) *search {
	s := &search{ctx: ctx, groups: len(groups)}
	names, seen := map[string]bool{}, map[string]bool{}
	for _, w := range weights {
		if !names[w.Name] {
			s.weights, s.owner = append(s.weights, w), append(s.owner, none)
		}
		names[w.Name] = true
	}
	for g := range groups {
		for i := range groups[g] {
			p := &groups[g][i]
			if seen[p.Key] {
				continue
			}
			seen[p.Key] = true
			s.params = append(s.params, param{Param: p, group: g, place: i, weight: none})
		}
	}
	return s
}

func (s *search) done() bool {
	return !slices.ContainsFunc(s.params, func(p param) bool { return p.open() })
}

// settle pairs parameter p with weight w.
func (s *search) settle(p, w int) {
	s.params[p].weight, s.params[p].reason, s.owner[w] = w, "", p
}

func (s *search) decline(p int, format string, a ...any) {
	s.params[p].reason = fmt.Sprintf(format, a...)
}

func (s *search) result() *Result {
	r := &Result{Weights: map[string]string{}}
	for i := range s.params {
		switch p := &s.params[i]; {
		case p.weight != none:
			r.Weights[p.Key] = s.weights[p.weight].Name
		case p.moments():
			r.Declined = append(r.Declined, Declined{p.Key, p.reason})
		}
	}
	return r
}

// shape is a shape as the key of a map.
func shape(dims []int64) string { return fmt.Sprint(dims) }

// class is what has one shape: weights in natural order, parameters in their own.
type class struct{ weights, params []int }

// classes sorts what fits into classes, in the order of their shapes.
func (s *search) classes(weight, param func(i int) bool) (all []class) {
	found := map[string]*class{}
	of := func(dims []int64) *class {
		k := shape(dims)
		if found[k] == nil {
			found[k] = &class{}
		}
		return found[k]
	}
	for i, w := range s.weights {
		if weight(i) {
			c := of(w.Shape)
			c.weights = append(c.weights, i)
		}
	}
	for i, p := range s.params {
		if param(i) {
			c := of(p.Shape)
			c.params = append(c.params, i)
		}
	}
	for _, k := range slices.Sorted(maps.Keys(found)) {
		c := found[k]
		slices.SortStableFunc(c.weights, func(a, b int) int { return natural(s.weights[a].Name, s.weights[b].Name) })
		all = append(all, *c)
	}
	return all
}

func (s *search) anyWeight(int) bool     { return true }
func (s *search) openParam(p int) bool   { return s.params[p].open() }
func (s *search) withMoments(p int) bool { return s.params[p].moments() }

func (s *search) openWeight(w int) bool { return s.owner[w] == none && trainable(s.weights[w].Name) }

// trainable tells weights from what holds many, and from the buffers of normalization
// that have the shape of its weights.
func trainable(name string) bool {
	last := name[strings.LastIndexByte(name, '.')+1:]
	return !tensor.Flat(name) && last != "running_mean" && last != "running_var"
}
