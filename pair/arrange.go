package pair

import (
	"fmt"
	"slices"
)

const (
	maxSteps    = 1 << 20 // weights placed while orders are tried
	maxFound    = 256     // orders that fit
	maxChildren = 500     // of a module, all with names
)

// arranger finds the orders of the modules in which the weights of a tree fit the
// parameters of a group: in shape, and where they are settled.
type arranger struct {
	s       *search
	slots   []int // parameters
	known   order
	decided map[string][]string // children of the kinds of nodes met so far
	now     []int               // weight of each slot
	found   [][]int
	seen    map[string]bool
	steps   int
}

// arrange lists every order that fits, or says why it cannot.
func (s *search) arrange(l lineup, known order) (found [][]int, reason string) {
	a := &arranger{s: s, slots: l.slots, known: known, decided: map[string][]string{}, now: make([]int, len(l.slots)), seen: map[string]bool{}}
	ok := a.walk(newTree(s.weights, l.weights), 0, func(at int) bool {
		if at == len(l.slots) {
			a.keep()
		}
		return len(a.found) <= maxFound
	})
	if !ok {
		reason = "too many orders of the modules fit"
	}
	return a.found, reason
}

func (a *arranger) keep() {
	if key := fmt.Sprint(a.now); !a.seen[key] {
		a.seen[key] = true
		a.found = append(a.found, slices.Clone(a.now))
	}
}

// walk puts the weights of a node at slot at and after, in each order that fits, and
// calls next with the slot after them. False ends everything.
func (a *arranger) walk(n *node, at int, next func(int) bool) bool {
	if n.weight != none {
		return a.put(n.weight, at, next)
	}
	if n.list {
		return a.list(n.children, at, next)
	}
	if names, ok := a.decided[n.kind]; ok {
		return a.list(n.inOrder(names), at, next)
	}
	if len(n.children) > maxChildren {
		return false
	}
	return a.choose(n, nil, n.children, at, next)
}

// list walks children whose order is decided.
func (a *arranger) list(children []*node, at int, next func(int) bool) bool {
	if len(children) == 0 {
		return next(at)
	}
	return a.walk(children[0], at, func(at int) bool { return a.list(children[1:], at, next) })
}

func (n *node) inOrder(names []string) []*node {
	byName := map[string]*node{}
	for _, c := range n.children {
		byName[c.name] = c
	}
	children := make([]*node, len(names))
	for i, name := range names {
		children[i] = byName[name]
	}
	return children
}

// choose tries each child that may come next.
func (a *arranger) choose(n *node, chosen []string, left []*node, at int, next func(int) bool) bool {
	if len(left) == 0 {
		a.decided[n.kind] = chosen
		defer delete(a.decided, n.kind)
		return next(at)
	}
	for i, c := range left {
		if slices.ContainsFunc(left, func(b *node) bool { return follows(c, b) || a.known.before(n.path, b.name, c.name) }) {
			continue
		}
		with := append(slices.Clip(chosen), c.name)
		others := slices.Delete(slices.Clone(left), i, i+1)
		if !a.walk(c, at, func(at int) bool { return a.choose(n, with, others, at, next) }) {
			return false
		}
	}
	return true
}

func (a *arranger) put(w, at int, next func(int) bool) bool {
	if a.steps++; a.steps > maxSteps {
		return false
	}
	if at == len(a.slots) || !a.s.fits(a.slots[at], w) {
		return true
	}
	a.now[at] = w
	return next(at + 1)
}

// fits reports whether w may be the weight of p. What has no moments has no shape.
func (s *search) fits(p, w int) bool {
	x := &s.params[p]
	if x.weight != none || s.owner[w] != none {
		return x.weight == w
	}
	return !x.moments() || slices.Equal(x.Shape, s.weights[w].Shape)
}
