package encode

import (
	"context"
	"fmt"
	"io"
	"slices"

	"excpfs/codec"
	"excpfs/tensor"
)

// span is a run of elements of one tensor. Types of less than a byte count bytes.
type span struct {
	start int64
	n     int
}

// scratch is what one goroutine needs to work on a chunk. Buffers grow to the
// size of a chunk and are used again.
type scratch struct {
	orig, base, dec  []byte
	x, d             []float32
	mask, domain     codec.Bitmap
	pos              []uint32
	sym              []uint8
	payload, support []byte
	tally            tally
}

// scratch is one that was released, or a new one. There are never more than goroutines
// and jobs under way, so none is thrown away.
func (e *encoder) scratch() *scratch {
	e.mu.Lock()
	defer e.mu.Unlock()
	n := len(e.spare)
	if n == 0 {
		return new(scratch)
	}
	s := e.spare[n-1]
	e.spare = e.spare[:n-1]
	return s
}

func (e *encoder) release(s *scratch) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.spare = append(e.spare, s)
}

// floats puts the elements of p into s.x.
func (s *scratch) floats(p []byte, d tensor.DType) {
	s.x = codec.Floats(sized(s.x, len(p)/d.Width())[:0], p, d)
}

// differences puts those to base into s.d.
func (s *scratch) differences(p, base []byte, d tensor.DType) {
	s.d = codec.Differences(sized(s.d, len(p)/d.Width())[:0], p, base, d)
}

// order brings s.pos, whose support is in s.support, into the order in which values are coded.
func (s *scratch) order(m *codec.Support, sp span, domain codec.Bitmap) error {
	var err error
	s.pos, err = m.Decode(s.pos[:0], s.support, sp.start, sp.n, domain)
	return err
}

// geometry says how a tensor is cut into chunks.
type geometry struct{ n, step int64 }

func geometryOf(t tensor.Info) geometry {
	return geometry{t.Length / int64(t.DType.Width()), max(1, codec.ChunkElems(t.DType, t.Shape))}
}

func (g geometry) chunks() int { return int((g.n + g.step - 1) / g.step) }

func (g geometry) chunk(k int) span {
	at := int64(k) * g.step
	return span{at, int(min(g.step, g.n-at))}
}

// spread are up to most spans of at most n elements, evenly over the tensor.
func (g geometry) spread(most int, n int64) []span {
	if g.n <= int64(most)*n {
		most = int((g.n + n - 1) / n)
	}
	var out []span
	for k := range int64(most) {
		at := k * n
		if g.n > int64(most)*n && most > 1 {
			at = k * ((g.n - n) / int64(most-1))
		}
		out = append(out, span{at, int(min(n, g.n-at))})
	}
	return out
}

// each calls fn for every chunk of tensor i in order.
func (e *encoder) each(ctx context.Context, i int, fn func(span) error) error {
	g := geometryOf(e.tensors[i])
	for k := range g.chunks() {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := fn(g.chunk(k)); err != nil {
			return err
		}
	}
	return nil
}

// readOrig reads elements of tensor i into s.orig.
func (e *encoder) readOrig(s *scratch, i int, sp span) error {
	var err error
	s.orig, err = readSpan(e.in.Src, e.tensors[i], sp, s.orig)
	return err
}

// readBase reads the same elements of tensor b of the base into s.base.
func (e *encoder) readBase(ctx context.Context, s *scratch, b int, sp span) error {
	w := e.in.Base.Index().Tensors[b].DType.Width()
	s.base = sized(s.base, sp.n*w)
	return e.in.Base.ReadTensor(ctx, b, s.base, sp.start*int64(w))
}

// readPair reads both.
func (e *encoder) readPair(ctx context.Context, s *scratch, i, b int, sp span) error {
	if err := e.readOrig(s, i, sp); err != nil {
		return err
	}
	return e.readBase(ctx, s, b, sp)
}

func readSpan(src io.ReaderAt, t tensor.Info, sp span, buf []byte) ([]byte, error) {
	w := t.DType.Width()
	buf = sized(buf, sp.n*w)
	return buf, readFull(src, t, buf, sp.start*int64(w))
}

// readFull fills p from byte off of the payload of a tensor.
func readFull(src io.ReaderAt, t tensor.Info, p []byte, off int64) error {
	if err := readAt(src, p, t.Offset+off); err != nil {
		return fmt.Errorf("tensor %q: %w", t.Name, err)
	}
	return nil
}

// readAt is ReadAt of the whole of p.
func readAt(src io.ReaderAt, p []byte, off int64) error {
	n, err := src.ReadAt(p, off)
	switch {
	case n == len(p):
		return nil
	case err == nil || err == io.EOF:
		return io.ErrUnexpectedEOF
	}
	return err
}

// sized gives a slice of n, in the same memory where that is large enough.
func sized[T any](b []T, n int) []T {
	if cap(b) < n {
		return make([]T, n)
	}
	return b[:n]
}

// bitmap gives a clear bitmap of n bits.
func bitmap(b codec.Bitmap, n int) codec.Bitmap {
	b = sized(b, (n+63)/64)
	clear(b)
	return b
}

func sameKind(a, b tensor.Info) bool {
	return a.DType == b.DType && slices.Equal(a.Shape, b.Shape)
}
