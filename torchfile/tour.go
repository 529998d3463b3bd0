package torchfile

import "strconv"

const maxDepth = 4000 // containers inside each other

// tour looks through an object in the order of its pickle, with the path that
// leads to each part. It enters a container once a pass, so it takes no more
// steps than the pickle has bytes.
type tour struct {
	path  []string
	depth int
	found func(t *tour, v value, pass seen) error // v is a ref or a *view
}

func (t *tour) visit(v value, pass seen) error {
	c, ok := v.(interface{ enter(pass seen) bool })
	if ok && !c.enter(pass) {
		return nil
	}
	if t.depth++; t.depth > maxDepth {
		return malformed("more than %d objects inside each other", maxDepth)
	}
	defer func() { t.depth-- }()
	switch c := v.(type) {
	case ref, *view:
		return t.found(t, v, pass)
	case *list:
		return t.list(c.items, pass)
	case *dict:
		if err := t.pairs(c.items, pass); err != nil {
			return err
		}
		return t.all(c.states, pass)
	case *object:
		return t.object(c, pass)
	}
	return nil
}

// object looks through what an object was made of. Its arguments and attributes
// go by the object's own path.
func (t *tour) object(o *object, pass seen) error {
	if sealing[o.fn] {
		if pass == listing {
			return nil
		}
		pass = sealed
	} else if pass == naming && !ordinary[o.fn] {
		pass = unknown
	}
	if err := t.args(o.args, pass); err != nil {
		return err
	}
	if err := t.pairs(o.pairs, pass); err != nil {
		return err
	}
	if err := t.list(o.items, pass); err != nil {
		return err
	}
	return t.all(o.states, pass)
}

func (t *tour) args(v value, pass seen) error {
	l, ok := v.(*list)
	if !ok {
		return t.visit(v, pass)
	}
	if !l.enter(pass) {
		return nil
	}
	return t.all(l.items, pass)
}

func (t *tour) all(v []value, pass seen) error {
	for _, v := range v {
		if err := t.visit(v, pass); err != nil {
			return err
		}
	}
	return nil
}

func (t *tour) list(v []value, pass seen) error {
	for i, v := range v {
		if err := t.child(strconv.Itoa(i), v, pass); err != nil {
			return err
		}
	}
	return nil
}

func (t *tour) pairs(v []value, pass seen) error {
	for i := 0; i+1 < len(v); i += 2 {
		if err := t.visit(v[i], pass); err != nil { // a key, seldom more than a string
			return err
		}
		if err := t.child(keyText(v[i]), v[i+1], pass); err != nil {
			return err
		}
	}
	return nil
}

func (t *tour) child(key string, v value, pass seen) error {
	t.path = append(t.path, key)
	err := t.visit(v, pass)
	t.path = t.path[:len(t.path)-1]
	return err
}

// pathLength is how long the path is as a name.
func (t *tour) pathLength() int {
	n := -1
	for _, p := range t.path {
		n += len(p) + 1
	}
	return max(n, 0)
}
