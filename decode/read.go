package decode

import (
	"context"
	"fmt"
	"io"
	"os"
	"runtime"

	"golang.org/x/sync/errgroup"

	"excpfs/archive"
	"excpfs/cache"
	"excpfs/codec"
)

// step is how much a copying read asks for at a time: some chunks, so that all
// cores decode, but a small part of any cache.
const step = 4 << 20

// Slices are pieces of pinned chunks that together are a range of the file.
type Slices struct {
	Bufs    [][]byte
	Release func() // never nil
}

// ReadAt is io.ReaderAt over the decoded file.
func (f *File) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, fmt.Errorf("decode: read %s: negative offset", f.Name())
	}
	n := int(min(int64(len(p)), max(0, f.Size()-off)))
	done, err := f.copyAt(context.Background(), p[:n], off)
	if err == nil && n < len(p) {
		err = io.EOF
	}
	return done, err
}

// ReadTensor fills p from byte off of the payload of tensor i.
func (f *File) ReadTensor(ctx context.Context, i int, p []byte, off int64) error {
	if i < 0 || i >= len(f.ix.Tensors) {
		return fmt.Errorf("decode: %s has no tensor %d", f.Name(), i)
	}
	t := &f.ix.Tensors[i]
	if off < 0 || off > t.Length || int64(len(p)) > t.Length-off {
		return fmt.Errorf("decode: bytes %d+%d of tensor %q, which has %d", off, len(p), t.Name, t.Length)
	}
	_, err := f.copyAt(ctx, p, t.Offset+off)
	return err
}

// BaseTensor is ReadTensor of the tensor that i is a residual of; false: i has no base.
func (f *File) BaseTensor(ctx context.Context, i int, p []byte, off int64) (bool, error) {
	if i < 0 || i >= len(f.ix.Tensors) || f.ix.Tensors[i].Base < 0 {
		return false, nil
	}
	b, err := ref{f, i}.base()
	if err != nil {
		return true, err
	}
	return true, b.ReadTensor(ctx, b.i, p, off)
}

// ReadSlices returns up to n bytes at off without copying; fewer only at the
// end of the file. Only pieces that are short next to n are copied, so that
// there are never many slices.
func (f *File) ReadSlices(ctx context.Context, off int64, n int) (Slices, error) {
	if off < 0 || n < 0 {
		return Slices{Release: func() {}}, fmt.Errorf("decode: read %s: %d bytes at %d", f.Name(), n, off)
	}
	return f.slices(ctx, off, min(int64(n), max(0, f.Size()-off)))
}

func (f *File) copyAt(ctx context.Context, p []byte, off int64) (done int, err error) {
	for done < len(p) {
		s, err := f.slices(ctx, off+int64(done), min(step, int64(len(p)-done)))
		if err != nil {
			return done, err
		}
		for _, b := range s.Bufs {
			done += codec.Copy(p[done:], b)
		}
		s.Release()
	}
	return done, nil
}

// slices is ReadSlices inside the file.
func (f *File) slices(ctx context.Context, off, n int64) (Slices, error) {
	if !f.set.acquire() {
		return Slices{Release: func() {}}, fmt.Errorf("decode: read %s: %w", f.Name(), os.ErrClosed)
	}
	defer f.set.release()
	var pieces []piece
	for end := off + n; off < end; {
		p := f.extents.at(off, end-off)
		pieces = append(pieces, p)
		off += p.n
	}
	entries, err := f.fetch(ctx, pieces)
	release := func() {
		for _, e := range entries {
			if e != nil {
				e.Release()
			}
		}
	}
	if err != nil {
		release()
		return Slices{Release: func() {}}, err
	}
	return Slices{Bufs: f.assemble(pieces, entries, n), Release: release}, nil
}

// fetch gets the chunks of all pieces, at the same time those that must be computed.
func (f *File) fetch(ctx context.Context, pieces []piece) ([]*cache.Entry, error) {
	c := f.set.cache
	entries := make([]*cache.Entry, len(pieces))
	get := func(i int) (err error) {
		entries[i], err = ref{f, pieces[i].tensor}.get(ctx, c, pieces[i].chunk)
		return err
	}
	var absent []int
	for i, p := range pieces {
		if p.tensor < 0 {
			continue
		}
		e, ok := c.Peek(ref{f, p.tensor}.key(p.chunk))
		if !ok {
			absent = append(absent, i)
			continue
		}
		e.Release()
		if err := get(i); err != nil {
			return entries, err
		}
	}
	if len(absent) == 1 {
		return entries, get(absent[0])
	}
	var g errgroup.Group
	g.SetLimit(runtime.NumCPU())
	for _, i := range absent {
		g.Go(func() error { return get(i) })
	}
	return entries, g.Wait()
}

// get returns chunk k from the cache, decoding it if need be.
func (r ref) get(ctx context.Context, c *cache.Cache, k int64) (*cache.Entry, error) {
	_, n := chunkRange(r.tensor().Info, k)
	e, err := c.Get(ctx, r.key(k), func() ([]byte, error) { return r.compute(c, k) })
	if err == nil && int64(len(e.Bytes())) != n {
		e.Release()
		return nil, r.damage(archive.Block{}, "chunk %d is %d bytes in another archive of this content", k, n)
	}
	return e, err
}

// assemble cuts the pieces out of their chunks. Those shorter than a 256th of
// the read, or a page, are copied together.
func (f *File) assemble(pieces []piece, entries []*cache.Entry, n int64) [][]byte {
	short := max(4096, n/256)
	bufs := make([][]byte, 0, len(pieces))
	var joined []byte
	for i, p := range pieces {
		src := f.ix.Verbatim
		if entries[i] != nil {
			src = entries[i].Bytes()
		}
		src = src[p.off : p.off+p.n : p.off+p.n]
		if p.n < short && len(pieces) > 2 {
			joined = append(joined, src...)
			continue
		}
		if len(joined) > 0 {
			bufs, joined = append(bufs, joined), nil
		}
		bufs = append(bufs, src)
	}
	if len(joined) > 0 {
		bufs = append(bufs, joined)
	}
	return bufs
}
