package torchfile

import (
	"strings"

	"excpfs/tensor"
)

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
	s.opaque = s.opaque || pass == unknown
	role := t.role()
	if s.named {
		s.doubtful = s.doubtful || role != s.role // one buffer of moments and other things
		return nil
	}
	s.named, s.role = true, role
	if t.pathLength() <= maxName {
		s.name = strings.Join(t.path, ".")
	}
	return nil
}

// role is that of the path as a name: its ends tell.
func (t *tour) role() tensor.Role {
	if len(t.path) == 0 {
		return tensor.Weight
	}
	first, last := t.path[0], t.path[len(t.path)-1]
	if len(first)+len(last) > maxName {
		return tensor.Weight
	}
	role, _ := tensor.RoleOf(first + "." + last)
	return role
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
