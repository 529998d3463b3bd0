package excp

import (
	"context"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"math"

	"excpfs/codec"
	"excpfs/safetensors"
	"excpfs/tensor"
)

// Output is a file to be written; it may hold anything before.
type Output interface {
	io.WriterAt
	Truncate(size int64) error
}

// run is how many elements are worked on at a time; a multiple of the labels in a byte.
const run = 1 << 16

// buffers of one worker.
type buffers struct {
	x, y  []float32
	bytes []byte
}

func newBuffers() *buffers {
	return &buffers{make([]float32, run), make([]float32, run), make([]byte, 4*run)}
}

// Reconstruct writes the two files that the script makes of a delta and its base, the
// checkpoint before. It returns a line for each thing that is odd.
func (s *Series) Reconstruct(ctx context.Context, d *Delta, base Checkpoint, model, optimizer Output) ([]string, error) {
	t, err := s.prepare(d, base)
	if err != nil {
		return nil, err
	}
	if err := t.model(ctx, model); err != nil {
		return t.notes, err
	}
	return t.notes, t.optimizer(ctx, optimizer)
}

// model writes the weights as save_file does.
func (t *step) model(ctx context.Context, w Output) error {
	var list []tensor.Info
	for _, name := range t.d.names {
		shape := t.weights[name].Shape
		n, _ := tensor.Product(shape)
		list = append(list, tensor.Info{Name: name, DType: tensor.F32, Shape: shape, Length: 4 * n})
	}
	safetensors.Arrange(list)
	head, err := safetensors.AppendHeader(nil, []safetensors.Entry{{Key: "format", Value: "pt"}}, list)
	if err != nil {
		return err
	}
	if err := rewrite(w, head); err != nil {
		return err
	}
	at := int64(len(head))
	b := newBuffers()
	for _, i := range list {
		if err := t.weight(ctx, w, at, i, b); err != nil {
			return err
		}
		at += i.Length
	}
	return nil
}

// rewrite begins a file anew.
func rewrite(w Output, head []byte) error {
	if err := w.Truncate(0); err != nil {
		return err
	}
	_, err := w.WriteAt(head, 0)
	return err
}

// weight adds the change to the base: in float32, and rounded once.
func (t *step) weight(ctx context.Context, w Output, at int64, i tensor.Info, b *buffers) error {
	c, base := &t.d.params[i.Name][weight], t.weights[i.Name]
	width := int64(base.DType.Width())
	return t.each(ctx, c, i.Name, i.Elems(), b, func(x []float32, from int64) error {
		old := b.bytes[:int64(len(x))*width]
		if err := readAt(t.base.Model, old, base.Offset+from*width); err != nil {
			return err
		}
		for j, y := range codec.Floats(b.y, old, base.DType) {
			x[j] += y
		}
		_, err := w.WriteAt(b.put(x), at+4*from)
		return err
	})
}

// each decodes a tensor of the delta, a run at a time.
func (t *step) each(ctx context.Context, c *coded, name string, n int64, b *buffers, fn func(x []float32, from int64) error) error {
	for from := int64(0); from < n; from += run {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		x := b.x[:min(run, n-from)]
		err := c.read(t.d.r, x, from, b.bytes)
		if label, ok := errors.AsType[*labelError](err); ok {
			err = wrong(name, "%v", label)
		}
		if err == nil {
			err = fn(x, from)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (b *buffers) put(x []float32) []byte {
	out := b.bytes[:4*len(x)]
	for i, v := range x {
		binary.LittleEndian.PutUint32(out[4*i:], math.Float32bits(v))
	}
	return out
}

// optimizer copies the file of the base and replaces the moments in it.
func (t *step) optimizer(ctx context.Context, w Output) error {
	if err := rewrite(w, nil); err != nil {
		return err
	}
	b := newBuffers()
	for at := int64(0); at < t.base.Optimizer.Size; at += int64(len(b.bytes)) {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		p := b.bytes[:min(int64(len(b.bytes)), t.base.Optimizer.Size-at)]
		if err := readAt(t.base.Optimizer, p, at); err != nil {
			return err
		}
		if _, err := w.WriteAt(p, at); err != nil {
			return err
		}
	}
	for _, name := range t.d.names {
		for k := expAvg; k < kinds; k++ {
			if err := t.moment(ctx, w, name, k, b); err != nil {
				return err
			}
		}
	}
	return nil
}

func (t *step) moment(ctx context.Context, w Output, name string, k kind, b *buffers) error {
	m := &t.s.moments[name][k]
	before, after := crc32.NewIEEE(), crc32.NewIEEE()
	err := t.each(ctx, &t.d.params[name][k], name, m.Length/4, b, func(x []float32, from int64) error {
		p := b.bytes[:4*len(x)]
		if err := readAt(t.base.Optimizer, p, m.Offset+4*from); err != nil {
			return err
		}
		before.Write(p)
		after.Write(b.put(x))
		_, err := w.WriteAt(b.bytes[:4*len(x)], m.Offset+4*from)
		return err
	})
	if err != nil || m.Length == 0 {
		return err
	}
	return t.sums(w, t.s.sums[m.Offset], before.Sum32(), after.Sum32())
}

// sums replaces the checksums of a payload that were right.
func (t *step) sums(w Output, offsets []int64, before, after uint32) error {
	var b [4]byte
	for _, off := range offsets {
		if err := readAt(t.base.Optimizer, b[:], off); err != nil {
			return err
		}
		if binary.LittleEndian.Uint32(b[:]) != before {
			continue
		}
		binary.LittleEndian.PutUint32(b[:], after)
		if _, err := w.WriteAt(b[:], off); err != nil {
			return err
		}
	}
	return nil
}
