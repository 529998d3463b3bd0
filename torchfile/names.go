package torchfile

import (
	"strconv"
	"strings"
)

const (
	maxDepth = 4000 // containers inside each other
	maxName  = 1024 // bytes of a tensor's name
)

// namer finds the path that leads to each storage first, in the order of the
// pickle. It also marks what lies in the arguments of a sealing function.
type namer struct {
	path  []string
	depth int
}

// nameStorages gives names below a prefix.
func nameStorages(root value, prefix ...string) error {
	return (&namer{path: prefix}).visit(root, false)
}

func (n *namer) visit(v value, sealed bool) error {
	c, ok := v.(interface{ enter(sealed bool) bool })
	if ok && !c.enter(sealed) {
		return nil
	}
	if n.depth++; n.depth > maxDepth {
		return malformed("more than %d objects inside each other", maxDepth)
	}
	defer func() { n.depth-- }()
	switch c := v.(type) {
	case ref:
		n.name(c.storage, sealed)
	case *list:
		return n.list(c.items, sealed)
	case *dict:
		if err := n.pairs(c.items, sealed); err != nil {
			return err
		}
		return n.all(c.states, sealed)
	case *object:
		return n.object(c, sealed)
	}
	return nil
}

// object looks through what an object was made of. Its arguments and attributes
// go by the object's own path.
func (n *namer) object(o *object, sealed bool) error {
	sealed = sealed || sealing[o.fn]
	if err := n.args(o.args, sealed); err != nil {
		return err
	}
	if err := n.pairs(o.pairs, sealed); err != nil {
		return err
	}
	if err := n.list(o.items, sealed); err != nil {
		return err
	}
	return n.all(o.states, sealed)
}

func (n *namer) args(v value, sealed bool) error {
	l, ok := v.(*list)
	if !ok {
		return n.visit(v, sealed)
	}
	if !l.enter(sealed) {
		return nil
	}
	return n.all(l.items, sealed)
}

func (n *namer) all(v []value, sealed bool) error {
	for _, v := range v {
		if err := n.visit(v, sealed); err != nil {
			return err
		}
	}
	return nil
}

func (n *namer) list(v []value, sealed bool) error {
	for i, v := range v {
		if err := n.child(strconv.Itoa(i), v, sealed); err != nil {
			return err
		}
	}
	return nil
}

func (n *namer) pairs(v []value, sealed bool) error {
	for i := 0; i+1 < len(v); i += 2 {
		if err := n.visit(v[i], sealed); err != nil { // a key, seldom more than a string
			return err
		}
		if err := n.child(keyText(v[i]), v[i+1], sealed); err != nil {
			return err
		}
	}
	return nil
}

func (n *namer) child(key string, v value, sealed bool) error {
	n.path = append(n.path, key)
	err := n.visit(v, sealed)
	n.path = n.path[:len(n.path)-1]
	return err
}

func (n *namer) name(s *storage, sealed bool) {
	s.verbatim = s.verbatim || sealed
	if s.named {
		return
	}
	s.named = true
	length := 0
	for _, p := range n.path {
		length += len(p) + 1
	}
	if length <= maxName {
		s.name = strings.Join(n.path, ".")
	}
}

// unique makes a storage's name one that was not taken yet.
func unique(taken map[string]bool, s *storage) string {
	name := s.name
	if name == "" {
		name = "data/" + s.key
	}
	for taken[name] {
		name += "#" + s.key
	}
	taken[name] = true
	return name
}
