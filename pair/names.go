package pair

import (
	"slices"
	"strings"

	"excpfs/tensor"
)

// wrappers are modules that training puts around others (DistributedDataParallel,
// torch.compile, FSDP, activation checkpoints).
var wrappers = map[string]bool{"module": true, "_orig_mod": true, "_fsdp_wrapped_module": true, "_checkpoint_wrapped_module": true}

// plain is a name without wrappers.
func plain(name string) string {
	parts := strings.Split(name, ".")
	kept := slices.DeleteFunc(slices.Clone(parts), func(p string) bool { return wrappers[p] })
	return strings.Join(kept, ".")
}

// named settles the parameters that have names, or whose keys are names.
func (s *search) named() {
	index, exact := s.index()
	claims := make([][]int, len(s.weights))
	for i := range s.params {
		p := &s.params[i]
		name := p.called()
		if name == "" || !p.moments() {
			continue
		}
		if w := s.called(index, exact[name], name, i); w != none {
			claims[w] = append(claims[w], i)
		}
	}
	for w, ps := range claims {
		if len(ps) == 1 {
			s.settle(ps[0], w)
			continue
		}
		for _, p := range ps {
			s.decline(p, "several parameters have the name of %s", s.weights[w].Name)
		}
	}
}

// numbered reports whether a key ends in the number of a parameter.
func numbered(key string) bool { return number(key[strings.LastIndexByte(key, '.')+1:]) }

// index lists the weights by their names without wrappers and by all ends of them,
// and by their names as they are.
func (s *search) index() (index, exact map[string][]int) {
	index, exact = map[string][]int{}, map[string][]int{}
	for i, w := range s.weights {
		exact[w.Name] = append(exact[w.Name], i)
		for name, ok := plain(w.Name), true; ok; _, name, ok = strings.Cut(name, ".") {
			index[name] = append(index[name], i)
		}
	}
	return index, exact
}

// called finds the one weight of the parameter's shape that has a name: the whole
// name, else the longest end of it that a weight has for a name, or ends in.
func (s *search) called(index map[string][]int, exact []int, name string, p int) int {
	for _, w := range exact {
		if slices.Equal(s.weights[w].Shape, s.params[p].Shape) {
			return w
		}
	}
	reason := "no weight has its name"
	whole := plain(name)
	for rest, ok := whole, true; ok; _, rest, ok = strings.Cut(rest, ".") {
		fit := slices.DeleteFunc(slices.Clone(index[rest]), func(w int) bool {
			// An end of both names proves nothing: attn.q and mlp.q.
			return plain(s.weights[w].Name) != rest && rest != whole
		})
		if exact := slices.DeleteFunc(slices.Clone(fit), func(w int) bool { return plain(s.weights[w].Name) != rest }); len(exact) > 0 {
			fit = exact
		}
		if len(fit) == 0 {
			continue
		}
		fit = slices.DeleteFunc(fit, func(w int) bool { return !slices.Equal(s.weights[w].Shape, s.params[p].Shape) })
		switch len(fit) {
		case 0:
			reason = "the weight of its name has another shape"
		case 1:
			return fit[0]
		default:
			reason = "several weights have its name"
		}
		break
	}
	s.decline(p, "%s", reason)
	return none
}

// flats settles flat partitions: weights of many parameters one after another, with
// moments of the same length in the same file.
func (s *search) flats() {
	isFlat := func(w int) bool {
		return tensor.Flat(s.weights[w].Name) && len(s.weights[w].Shape) == 1 && s.owner[w] == none
	}
	for _, c := range s.classes(isFlat, s.openParam) {
		if len(c.weights) == 1 && len(c.params) == 1 {
			s.settle(c.params[0], c.weights[0])
			continue
		}
		for _, p := range c.params {
			var same []int
			for _, w := range c.weights {
				if last(s.weights[w].Name) == last(s.params[p].Key) {
					same = append(same, w)
				}
			}
			if len(same) == 1 && s.owner[same[0]] == none {
				s.settle(p, same[0])
			}
		}
	}
}

// last is the last number in a name.
func last(name string) string {
	at := instance(name)
	return at[strings.LastIndexByte(at, '.')+1:]
}
