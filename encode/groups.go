package encode

import (
	"context"

	"excpfs/tensor"
)

// group is one moment, or both of a weight where they have the same dtype and shape.
type group struct {
	weight  string
	members []int // exp_avg first
	plans   memo[map[int]*plan]
}

// group sorts the tensors into weights and groups of moments.
func (e *encoder) group() {
	e.moments = map[string][]int{}
	e.groups = make([]*group, len(e.tensors))
	for i, t := range e.tensors {
		role, weight := e.roleOf(i)
		switch {
		case role == tensor.Weight:
			e.weights[t.Name] = i
		case t.DType.Lossy() && !e.exactOnly(i):
			e.moments[weight] = append(e.moments[weight], i)
			e.domains[weight] = new(domain)
			e.groups[i] = &group{weight: weight, members: []int{i}}
		}
	}
	for weight, all := range e.moments {
		e.domains[weight].users.Store(int64(len(all)))
		m, v := e.first(all, tensor.ExpAvg), e.first(all, tensor.ExpAvgSq)
		if m >= 0 && v >= 0 && sameKind(e.tensors[m], e.tensors[v]) {
			g := &group{weight: weight, members: []int{m, v}}
			e.groups[m], e.groups[v] = g, g
		}
	}
}

// roleOf is the role of tensor i and the weight it belongs to.
func (e *encoder) roleOf(i int) (tensor.Role, string) {
	role, weight := tensor.RoleOf(e.tensors[i].Name)
	if w, ok := e.in.Pairs[weight]; ok && role != tensor.Weight {
		weight = w
	}
	return role, weight
}

func (e *encoder) first(all []int, role tensor.Role) int {
	for _, i := range all {
		if r, _ := e.roleOf(i); r == role {
			return i
		}
	}
	return -1
}

func (e *encoder) planMoment(ctx context.Context, g *group, i int) (*plan, error) {
	plans, err := g.plans.get(func() (map[int]*plan, error) { return e.planGroup(ctx, g) })
	return plans[i], err
}

// planGroup plans together what can share a support. A second moment is never pruned but where the first is:
// optimizers divide by its root. What has a negative element is none, and its name, or that of both, is wrong.
func (e *encoder) planGroup(ctx context.Context, g *group) (map[int]*plan, error) {
	plans := map[int]*plan{}
	var few, many []int
	last := g.members[len(g.members)-1]
	sq, err := e.stat(ctx, last)
	if err != nil {
		return nil, err
	}
	role, _ := e.roleOf(last)
	wrong := role == tensor.ExpAvgSq && sq.sum < sq.abs
	for _, i := range g.members {
		st, err := e.stat(ctx, i)
		switch {
		case err != nil:
			return nil, err
		case st.exactOnly() || wrong:
			if plans[i], err = e.planExact(ctx, i); err != nil {
				return nil, err
			}
		case st.few:
			few = append(few, i)
		default:
			many = append(many, i)
		}
	}
	alone := role == tensor.ExpAvgSq && len(g.members) == 1
	if len(many) == 1 && (alone || many[0] != g.members[0]) {
		if plans[many[0]], err = e.planExact(ctx, many[0]); err != nil {
			return nil, err
		}
		many = nil
	}
	for _, members := range [][]int{few, many} {
		if len(members) > 0 {
			if err := e.planMoments(ctx, g.weight, members, plans); err != nil {
				return nil, err
			}
		}
	}
	return plans, nil
}
