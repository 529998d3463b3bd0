package torchfile

import (
	"io"
	"math"
	"slices"
	"strings"

	"excpfs/tensor"
)

// maxPaths bounds what the paths of the tensors of a file may take, in bytes.
const maxPaths = 64 << 20

// Tensor is a tensor as the pickle describes it: what it sees of a storage.
type Tensor struct {
	Path string   // the keys that lead to it, with dots between; not unique where keys have dots
	Keys []string // the same one by one

	DType          tensor.DType // Invalid where ours have no equivalent
	Shape, Stride  []int64      // in elements
	Start          int64        // its first element in the storage, in elements
	Offset, Length int64        // of the storage's payload in the file, in bytes
}

// Tensors lists the tensors of a file of size bytes in the order of its pickles,
// by each place that refers to one: views and tied tensors come as often as they
// are named. What an object holds has the object's path, and a distributed tensor
// is its local part. The parts of sparse, quantized, nested and unknown wrapped
// tensors are left out. All listed tensors lie within their storages; the error
// is as that of Parse, and also for a file where the bytes of one cannot be read
// as they are.
func Tensors(r io.ReaderAt, size int64) ([]Tensor, error) {
	f, err := open(r, size)
	if err != nil {
		return nil, err
	}
	var all []Tensor
	paths := 0
	found := func(t *tour, v value, _ seen) error {
		w, ok := v.(*view)
		if !ok {
			return nil
		}
		const header = 16 // bytes of a string's
		if paths += t.pathLength() + header*len(t.path); paths > maxPaths {
			return malformed("paths of more than %d bytes", maxPaths)
		}
		path := strings.Join(t.path, ".")
		if err := w.check(path); err != nil {
			return err
		}
		all = append(all, Tensor{path, slices.Clone(t.path), w.dtype, w.shape, w.stride, w.offset, w.at, w.length})
		return nil
	}
	for _, root := range f.roots {
		if err := (&tour{path: root.path, found: found}).visit(root.value, listing); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// check proves that the tensor's storage is in the file and holds all of it.
func (v *view) check(path string) error {
	last, ok := v.last()
	switch {
	case !v.placed:
		return malformed("tensor %q: storage %q is not in the file as it is", path, v.key)
	case !ok || v.dtype.Valid() && last >= v.length/int64(v.dtype.Width()):
		return malformed("tensor %q: %v with strides %v from element %d leaves its storage of %d bytes", path, v.shape, v.stride, v.offset, v.length)
	}
	return nil
}

// last is the index of the last element in the storage, -1 of an empty tensor.
func (v *view) last() (int64, bool) {
	if len(v.shape) != len(v.stride) {
		return 0, false
	}
	if slices.Contains(v.shape, 0) {
		return -1, true
	}
	last := v.offset
	for i, n := range v.shape {
		step := v.stride[i]
		if n--; n > 0 && step > (math.MaxInt64-last)/n {
			return 0, false
		}
		last += n * step
	}
	return last, true
}
