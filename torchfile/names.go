package torchfile

import "strings"

const maxName = 1024 // bytes of a tensor's name

// nameStorages gives each storage the path that leads to it first, below a
// prefix. It also marks what lies in the arguments of a sealing function.
func nameStorages(root value, prefix ...string) error {
	return (&tour{path: prefix, found: name}).visit(root, naming)
}

func name(t *tour, v value, pass seen) error {
	r, ok := v.(ref)
	if !ok {
		r = v.(*view).ref
	}
	s := r.storage
	s.verbatim = s.verbatim || pass == sealed
	if s.named {
		return nil
	}
	s.named = true
	if t.pathLength() <= maxName {
		s.name = strings.Join(t.path, ".")
	}
	return nil
}

// unique makes a storage's name one that was not taken yet.
func (f *file) unique(s *storage) string {
	name := s.name
	if name == "" {
		name = "data/" + s.key
	}
	for f.taken[name] {
		name += "#" + s.key
	}
	f.taken[name] = true
	return name
}
