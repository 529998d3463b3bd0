package excp

import (
	"fmt"
	"io"
	"slices"

	"excpfs/codec"
	"excpfs/tensor"
	"excpfs/torchfile"
)

// FormatError says what does not fit in a delta, or between it and its base.
type FormatError struct {
	Param  string // "" where it is the whole file
	Reason string
}

func (e *FormatError) Error() string {
	if e.Param == "" {
		return e.Reason
	}
	return fmt.Sprintf("tensor %q: %s", e.Param, e.Reason)
}

func wrong(param, format string, a ...any) error {
	return &FormatError{param, fmt.Sprintf(format, a...)}
}

// File is a file to be read.
type File struct {
	io.ReaderAt
	Size int64
}

// kind is one of the three tensors that a parameter has.
type kind int

const (
	weight kind = iota
	expAvg
	expAvgSq
	kinds
)

// names of a kind: its prefix in a delta, and what it is.
var names = [kinds]struct{ key, what string }{
	{"weights", "the weight"}, {"opt_v", "exp_avg"}, {"opt_m", "exp_avg_sq"},
}

// coded is one tensor of a delta.
type coded struct {
	index, book torchfile.Tensor
	found       [2]bool   // index, book
	values      []float32 // of the labels, 0 first; nil: the elements are in index as they are
	bits        int       // of a label
}

// Delta is a compressed.pt.
type Delta struct {
	r      io.ReaderAt
	names  []string // of the parameters, in the file's order
	params map[string]*[kinds]coded
}

// Open reads what a delta holds, but not the labels. The error is a *FormatError or a
// *torchfile.FormatError where it is no delta.
func Open(f File) (*Delta, error) {
	list, err := torchfile.Tensors(f, f.Size)
	if err != nil {
		return nil, err
	}
	d := &Delta{r: f, params: map[string]*[kinds]coded{}}
	for _, t := range list {
		if err := d.add(t); err != nil {
			return nil, err
		}
	}
	if len(d.names) == 0 {
		return nil, wrong("", "no parameter in it")
	}
	for _, name := range d.names {
		for k := range kinds {
			if err := d.params[name][k].complete(d.r, name, k); err != nil {
				return nil, err
			}
		}
	}
	return d, nil
}

func (d *Delta) add(t torchfile.Tensor) error {
	if len(t.Keys) != 2 {
		return wrong(t.Path, "not of the form PARAMETER, weights_i")
	}
	name, key := t.Keys[0], t.Keys[1]
	k := slices.IndexFunc(names[:], func(n struct{ key, what string }) bool { return key == n.key+"_i" || key == n.key+"_c" })
	if k < 0 {
		return wrong(name, "unknown key %q", key)
	}
	p := d.params[name]
	if p == nil {
		p = new([kinds]coded)
		d.params[name] = p
		d.names = append(d.names, name)
	}
	c, part := &p[k], 0
	if key[len(key)-1] == 'c' {
		part = 1
	}
	if c.found[part] {
		return wrong(name, "key %q twice", key)
	}
	c.found[part] = true
	*[]*torchfile.Tensor{&c.index, &c.book}[part] = t
	return whole(t, name, key)
}

// maxBook is the most entries that labels of a byte can tell apart.
const maxBook = 255

// complete checks the types and reads the codebook.
func (c *coded) complete(r io.ReaderAt, name string, k kind) error {
	key := names[k].key
	want := tensor.F32
	if c.found[1] {
		want = tensor.U8
	}
	switch {
	case !c.found[0]:
		return wrong(name, "no %s_i", key)
	case c.index.DType != want:
		return wrong(name, "%s_i is %s, not %s", key, c.index.DType, want)
	case !c.found[1]:
		return nil
	case c.book.DType != tensor.F16:
		return wrong(name, "%s_c is %s, not F16", key, c.book.DType)
	}
	n, ok := tensor.Product(c.book.Shape)
	if !ok || n < 1 || n > maxBook {
		return wrong(name, "codebook %s_c of %v", key, c.book.Shape)
	}
	b := make([]byte, 2*n)
	if err := readAt(r, b, c.book.Offset+2*c.book.Start); err != nil {
		return err
	}
	c.values = append([]float32{0}, codec.Floats(nil, b, tensor.F16)...)
	return nil
}

// fit checks the number of labels against that of the elements; it tells the bits of a label.
func (c *coded) fit(name string, k kind, elems int64) error {
	n, ok := tensor.Product(c.index.Shape)
	if !ok || c.values == nil && n != elems {
		return wrong(name, "%v values for %s of %d elements", c.index.Shape, names[k].what, elems)
	}
	if c.values == nil {
		return nil
	}
	for _, bits := range []int{4, 8, 2} {
		if n == elems/int64(8/bits) && elems%int64(8/bits) == 0 {
			c.bits = bits
			return nil
		}
	}
	return wrong(name, "%d bytes of labels for %s of %d elements", n, names[k].what, elems)
}

// read decodes the elements from one on; labels of less than a byte come in whole bytes.
func (c *coded) read(r io.ReaderAt, dst []float32, from int64, buf []byte) error {
	if c.values == nil {
		b := buf[:4*len(dst)]
		err := readAt(r, b, c.index.Offset+4*(c.index.Start+from))
		codec.Floats(dst, b, tensor.F32)
		return err
	}
	per := int64(8 / c.bits)
	b := buf[:int64(len(dst))/per]
	if err := readAt(r, b, c.index.Offset+c.index.Start+from/per); err != nil {
		return err
	}
	mask := byte(1<<c.bits - 1)
	for i, packed := range b {
		for j, shift := i*int(per), 8-c.bits; shift >= 0; j, shift = j+1, shift-c.bits {
			label := int(packed >> shift & mask)
			if label >= len(c.values) {
				return &labelError{from + int64(j), label, len(c.values) - 1}
			}
			dst[j] = c.values[label]
		}
	}
	return nil
}

// labelError becomes a FormatError where the tensor is known.
type labelError struct {
	at          int64
	label, book int
}

func (e *labelError) Error() string {
	return fmt.Sprintf("label %d of element %d is beyond the codebook of %d", e.label, e.at, e.book)
}

// whole proves that a tensor's elements lie one after another.
func whole(t torchfile.Tensor, name, what string) error {
	step := int64(1)
	for i := len(t.Shape) - 1; i >= 0; i-- {
		if t.Shape[i] > 1 && t.Stride[i] != step {
			return wrong(name, "%s is not contiguous: strides %v of shape %v", what, t.Stride, t.Shape)
		}
		step *= max(1, t.Shape[i])
	}
	return nil
}

func readAt(r io.ReaderAt, p []byte, off int64) error {
	n, err := r.ReadAt(p, off)
	if n == len(p) {
		return nil
	}
	if err == nil || err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return fmt.Errorf("excp: %w", err)
}

// Centres is the size of the largest codebook.
func (d *Delta) Centres() (n int) {
	for _, p := range d.params {
		for _, c := range p {
			n = max(n, len(c.values)-1)
		}
	}
	return n
}
