package torchfile

import (
	"strconv"

	"excpfs/tensor"
)

// value is what a pickle holds, as far as it matters here: nil, bool, int64,
// string (also a short byte string), or one of the types below. Containers are
// pointers, because a pickle may refer to one again and fill it later.
type value any

// opaque stands for a value of no interest: a float, a large integer, bytes.
type opaque struct{}

// global is a class or function by its dotted name. It is never looked up.
type global string

// list is a list, a set, or a tuple, which nothing is appended to.
type list struct {
	items []value
	tuple bool
	seen
}

// dict is a dict or OrderedDict: keys and values in turn.
type dict struct {
	items  []value
	states []value // attributes, from BUILD
	seen
}

// object is anything else that a call makes.
type object struct {
	fn     global
	args   value
	items  []value // appended to it
	pairs  []value // set in it, as in a dict
	states []value
	seen
}

// seen says in which pass a container was last looked through. Containers may
// hold each other.
type seen uint8

// The passes: one that names the storages, others through objects whose class is
// not known and through what keeps its storages verbatim, and one that lists the tensors.
const (
	naming seen = iota + 1
	unknown
	sealed
	listing
)

// enter reports whether the container has yet to be looked through.
func (s *seen) enter(pass seen) bool {
	if *s >= pass {
		return false
	}
	*s = pass
	return true
}

// ref is a storage from an element on.
type ref struct {
	*storage
	offset int64
}

// view is a tensor: what it sees of a storage.
type view struct {
	ref
	dtype         tensor.DType
	shape, stride []int64
}

// get finds the value of a key; nil if there is none.
func (d *dict) get(key string) value {
	for i := 0; i+1 < len(d.items); i += 2 {
		if d.items[i] == value(key) {
			return d.items[i+1]
		}
	}
	return nil
}

// keyText is a key as part of a name.
func keyText(key value) string {
	switch k := key.(type) {
	case string:
		return k
	case int64:
		return strconv.FormatInt(k, 10)
	case bool:
		return map[bool]string{true: "True", false: "False"}[k]
	}
	return "?"
}
