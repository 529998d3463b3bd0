package torchfile

import "excpfs/tensor"

// The functions whose results are known. All others make an opaque object, whose
// arguments are still looked through.
const (
	rebuild1   global = "torch._utils._rebuild_tensor"    // storage, offset, size, stride
	rebuild2   global = "torch._utils._rebuild_tensor_v2" // and requires_grad, hooks[, bits]
	rebuild3   global = "torch._utils._rebuild_tensor_v3" // and requires_grad, hooks, dtype[, bits]
	fromType   global = "torch._tensor._rebuild_from_type"
	fromTypeV2 global = "torch._tensor._rebuild_from_type_v2" // function, type, its arguments, state

	// a tensor that keeps its numbers in others, its attributes
	wrapper global = "torch._utils._rebuild_wrapper_subclass"
)

// sealing are the functions that give the values in their arguments another
// meaning than an array of numbers has.
var sealing = map[global]bool{
	wrapper:                                   true,
	"torch._utils._rebuild_qtensor":           true,
	"torch._utils._rebuild_sparse_tensor":     true,
	"torch._utils._rebuild_sparse_csr_tensor": true,
	"torch._utils._rebuild_nested_tensor":     true,
}

// ordinary are the functions that make no more of their arguments than a tensor or a container.
var ordinary = map[global]bool{
	fromType: true, fromTypeV2: true,
	"torch._utils._rebuild_parameter":            true,
	"torch._utils._rebuild_parameter_with_state": true,
	"collections.OrderedDict":                    true,
	"argparse.Namespace":                         true,
}

// distributed are the wrappers of a part of the tensor itself, which goes by
// their name.
var distributed = map[global]bool{
	"torch.distributed._tensor.api.DTensor": true,
	"torch.distributed.tensor._api.DTensor": true,
	"torch.distributed.tensor.DTensor":      true,
}

// call is the result of a function.
func (m *machine) call(fn, args value) value {
	name, _ := fn.(global)
	var a []value
	if l, ok := args.(*list); ok {
		a = l.items
	}
	switch name {
	case "collections.OrderedDict", "collections.defaultdict":
		if len(a) == 0 || name == "collections.defaultdict" {
			return &dict{}
		}
	case "torch.Size":
		if len(a) == 1 {
			return a[0]
		}
	case rebuild1, rebuild2, rebuild3:
		if t, ok := rebuild(name, a); ok {
			return t
		}
	case fromType, fromTypeV2:
		if inner, ok := arg(a, 0).(global); ok && inner != fromType && inner != fromTypeV2 {
			if inner == wrapper {
				return wrapped(a)
			}
			return &object{fn: name, args: &list{items: []value{m.call(inner, arg(a, 2)), arg(a, 3)}}}
		}
	}
	return &object{fn: name, args: args}
}

// wrapped is what a wrapper holds: a part of a tensor, or things unknown.
func wrapped(a []value) value {
	class, _ := arg(a, 1).(global)
	state := arg(a, 3)
	if l, ok := state.(*list); ok { // of a class with slots
		state = arg(l.items, 1)
	}
	if d, ok := state.(*dict); ok && distributed[class] {
		if local, ok := d.get("_local_tensor").(*view); ok {
			return local
		}
	}
	return &object{fn: wrapper, args: &list{items: a}}
}

// arg is an argument that may be missing.
func arg(a []value, i int) value {
	if i < len(a) {
		return a[i]
	}
	return nil
}

// rebuild notes a tensor on its storage.
func rebuild(fn global, a []value) (value, bool) {
	s, ok := arg(a, 0).(ref)
	offset, isInt := arg(a, 1).(int64)
	shape, isShape := sizes(arg(a, 2))
	stride, isStride := sizes(arg(a, 3))
	if !ok || !isInt || !isShape || !isStride || offset < 0 {
		return nil, false
	}
	d := classes[s.class].dtype
	bits := arg(a, 6)
	if fn == rebuild3 {
		name, _ := bits.(global)
		d, bits = dtypes[name], arg(a, 7)
	}
	s.offset += offset
	s.view(d, s.offset, shape, stride)
	if m, ok := bits.(*dict); ok && len(m.items) > 0 {
		d = tensor.Invalid // conjugated or negated: not what the storage holds
	}
	return &view{s, d, shape, stride}, true
}

// sizes reads a shape or its strides.
func sizes(v value) ([]int64, bool) {
	l, ok := v.(*list)
	if !ok || len(l.items) > maxDims {
		return nil, false
	}
	var n []int64
	for _, v := range l.items {
		i, ok := v.(int64)
		if !ok || i < 0 {
			return nil, false
		}
		n = append(n, i)
	}
	return n, true
}

// persistent is what a persistent id stands for: a storage, or something opaque.
//
//	("storage", class, key, location, numel[, None or (key of the view, offset, numel)])
func (m *machine) persistent(id value) value {
	l, ok := id.(*list)
	if !ok || arg(l.items, 0) != value("storage") {
		return &object{args: id}
	}
	g, isClass := arg(l.items, 1).(global)
	name, isTorch := className(g)
	key, isKey := arg(l.items, 2).(string)
	numel, isInt := arg(l.items, 4).(int64)
	if !isClass || !isKey || !isInt || numel < 0 {
		return &object{args: id}
	}
	if !isTorch {
		name = string(g)
	}
	s := m.storages[key]
	if s == nil {
		s = &storage{key: key, class: name, numel: numel}
		m.storages[key] = s
		m.order = append(m.order, s)
	}
	s.verbatim = s.verbatim || s.class != name || s.numel != numel
	return ref{s, viewOffset(arg(l.items, 5))}
}

// viewOffset is where a view of a legacy file begins in its storage, in elements.
func viewOffset(v value) int64 {
	l, ok := v.(*list)
	if !ok {
		return 0
	}
	n, ok := arg(l.items, 1).(int64)
	if !ok || n < 0 {
		return 1 // somewhere: it covers nothing
	}
	return n
}
