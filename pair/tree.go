package pair

import (
	"cmp"
	"slices"
	"strings"
)

// node is a module, or a weight of one. An optimizer lists the weights of a module
// before those of its children, and all of a child's before the next child's.
type node struct {
	name     string
	path     string // with numbers left out: what all layers have in common
	weight   int    // or none
	children []*node
	kind     string // path and children: nodes of one kind have them in one order
	list     bool   // whose children are numbered
}

func newTree(weights []Weight, which []int) *node {
	root := &node{weight: none}
	at := map[string]*node{"": root}
	for _, w := range which {
		parent, name := root, ""
		for _, part := range strings.Split(weights[w].Name, ".") {
			name += "." + part
			child := at[name]
			if child == nil {
				child = &node{name: part, path: template(name), weight: none}
				at[name] = child
				parent.children = append(parent.children, child)
			}
			parent = child
		}
		// A child of its own, should the name be that of a module as well.
		parent.children = append(parent.children, &node{path: parent.path, weight: w})
	}
	root.finish()
	return root
}

func (n *node) finish() {
	for _, c := range n.children {
		c.finish()
	}
	if len(n.children) == 1 && n.children[0].name == "" && n.children[0].weight != none {
		n.weight, n.children = n.children[0].weight, nil
	}
	slices.SortStableFunc(n.children, func(a, b *node) int {
		return cmp.Or(cmp.Compare(rank(a), rank(b)), component(a.name, b.name))
	})
	names := make([]string, len(n.children))
	for i, c := range n.children {
		names[i] = c.name
	}
	n.kind = n.path + ":" + strings.Join(names, ",")
	n.list = !slices.ContainsFunc(n.children, func(c *node) bool { return c.weight != none || !number(c.name) })
}

// rank orders the children of a module: its weights, then modules.
func rank(n *node) int {
	if n.weight != none {
		return 0
	}
	return 1
}

// follows reports that among children of one module b comes before a whatever the
// module: weights before modules, weight before bias, numbers in order.
func follows(a, b *node) bool {
	switch {
	case a.weight != none && b.weight != none:
		return a.name == "bias" && b.name == "weight"
	case a.weight != none || b.weight != none:
		return b.weight != none
	}
	return number(a.name) && number(b.name) && component(b.name, a.name) < 0
}

// order says which children of a module come before which, by the path of the module.
type order map[string]map[[2]string]bool

func (o order) before(path, a, b string) bool { return o[path][[2]string{a, b}] }

// interval is where the weights of a module are in a group.
type interval struct{ first, last int }

// learn adds the order that the settled weights of a tree show. It fails where it is
// no order of modules: intervals that overlap, layers that contradict each other.
func (o order) learn(n *node, place func(w int) (group, at int, ok bool)) (map[int]interval, bool) {
	all := map[int]interval{}
	if n.weight != none {
		if g, at, ok := place(n.weight); ok {
			all[g] = interval{at, at}
		}
		return all, true
	}
	type child struct {
		*node
		interval
	}
	groups := map[int][]child{}
	for _, c := range n.children {
		found, ok := o.learn(c, place)
		if !ok {
			return nil, false
		}
		for g, in := range found {
			groups[g] = append(groups[g], child{c, in})
		}
	}
	for g, cs := range groups {
		slices.SortFunc(cs, func(a, b child) int { return cmp.Compare(a.first, b.first) })
		for i := range cs[1:] {
			if cs[i].last > cs[i+1].first {
				return nil, false
			}
		}
		nodes := make([]*node, len(cs))
		for i, c := range cs {
			nodes[i] = c.node
		}
		if !o.add(n.path, nodes) {
			return nil, false
		}
		all[g] = interval{cs[0].first, cs[len(cs)-1].last}
	}
	return all, true
}

// add takes nodes for children of a module in their order.
func (o order) add(path string, nodes []*node) bool {
	if o[path] == nil {
		o[path] = map[[2]string]bool{}
	}
	for i, a := range nodes {
		if i > 0 && follows(nodes[i-1], a) {
			return false
		}
		if number(a.name) {
			continue
		}
		for _, b := range nodes[i+1:] {
			if o.before(path, b.name, a.name) {
				return false
			}
			o[path][[2]string{a.name, b.name}] = true
		}
	}
	return true
}
