package seal

import (
	"cmp"
	"slices"

	"excpfs/archive"
	"excpfs/encode"
	"excpfs/store"
	"excpfs/tensor"
)

// weights finds the sealed siblings that hold the weights of a file's moments, those of most first.
// They are the caller's to close.
func (f *folder) weights(u *unit, pairs map[string]string) []encode.Sibling {
	wanted, siblings := u.wanted(pairs), kinFirst(f.siblings(), u.name, func(s held) string { return s.name })
	var out []encode.Sibling
	for len(wanted) > 0 {
		hint, found := f.mostWeights(u, siblings, wanted)
		if hint == "" {
			break
		}
		for _, w := range found {
			delete(wanted, w)
		}
		if w := f.decoded(hint); w != nil {
			out = append(out, encode.Sibling{File: w, Hint: hint, BaseHint: baseHint(w)})
		}
	}
	return out
}

// mostWeights is the path of the sealed sibling with most elements of the wanted weights, the nearest of such, and which they are.
func (f *folder) mostWeights(u *unit, siblings []held, wanted map[string][]int64) (best string, found []string) {
	most := int64(0)
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, s := range siblings {
		if len(found) == len(wanted) {
			break
		}
		if s.form != store.Sealed || s.path() == u.path() {
			continue
		}
		if names, n := covered(f.index(s.path()), wanted); n > most {
			best, found, most = s.path(), names, n
		}
	}
	return best, found
}

// wanted are the shapes of the weights that a file has moments of, but not the weights.
func (u *unit) wanted(pairs map[string]string) map[string][]int64 {
	shapes := map[string][]int64{}
	for _, t := range u.layout.Tensors {
		if role, w := tensor.RoleOf(t.Name); role != tensor.Weight {
			shapes[cmp.Or(pairs[w], w)] = t.Shape
		}
	}
	for _, t := range u.layout.Tensors {
		delete(shapes, t.Name)
	}
	return shapes
}

// covered are the weights that an archive holds of those wanted, and their elements.
func covered(ix *archive.Index, wanted map[string][]int64) (names []string, n int64) {
	if ix == nil {
		return nil, 0
	}
	for _, t := range ix.Tensors {
		role, _ := tensor.RoleOf(t.Name)
		if shape, ok := wanted[t.Name]; ok && role == tensor.Weight && slices.Equal(shape, t.Shape) {
			names = append(names, t.Name)
			n += t.Elems()
		}
	}
	return names, n
}
