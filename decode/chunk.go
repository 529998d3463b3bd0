package decode

import (
	"encoding/binary"
	"errors"
	"slices"
	"sync"

	"excpfs/archive"
	"excpfs/cache"
	"excpfs/codec"
)

var (
	errTrailing = errors.New("bytes after its end")
	errFraming  = errors.New("support part is longer than its chunk")
)

// maxPayload bounds the stored form of a chunk.
const maxPayload = 4 * codec.ChunkBytes

// decoder is the scratch memory of one computation.
type decoder struct {
	cache  *cache.Cache
	inMask bool // decoding a weight for its mask

	block []byte
	pos   []uint32
	sym   []uint8

	domain, mask codec.Bitmap
	weight, base []byte
}

var decoders = sync.Pool{New: func() any { return new(decoder) }}

// compute decodes chunk k of a tensor into a buffer of the cache.
func (r ref) compute(c *cache.Cache, k int64) ([]byte, error) {
	d := decoders.Get().(*decoder)
	defer decoders.Put(d)
	d.cache, d.inMask = c, false

	_, n := chunkRange(r.tensor().Info, k)
	dst := c.Buffer(int(n))
	if err := d.chunk(dst, r, k); err != nil {
		c.Recycle(dst)
		return nil, err
	}
	return dst, nil
}

// chunk decodes chunk k of a tensor into dst: the base's, then what r changes.
func (d *decoder) chunk(dst []byte, r ref, k int64) error {
	switch codec.Method(r.tensor().Method) {
	case codec.Same, codec.Delta, codec.Residual:
		b, err := r.base()
		if err != nil {
			return err
		}
		if err := d.below(dst, b, k); err != nil {
			return err
		}
	}
	return d.apply(dst, r, k)
}

// below is chunk for a level under the one asked for: it may be in the cache,
// but is not put there.
func (d *decoder) below(dst []byte, r ref, k int64) error {
	if d.peek(dst, r, k) {
		return nil
	}
	return d.chunk(dst, r, k)
}

func (d *decoder) peek(dst []byte, r ref, k int64) bool {
	e, ok := d.cache.Peek(r.key(k))
	if !ok {
		return false
	}
	defer e.Release()
	return codec.Copy(dst, e.Bytes()) == len(dst)
}

// apply turns the base's bytes in dst into those of the tensor.
func (d *decoder) apply(dst []byte, r ref, k int64) error {
	t := r.tensor()
	switch m := codec.Method(t.Method); m {
	case codec.Same:
		return nil
	case codec.Exact, codec.Delta:
		base := dst
		if m == codec.Exact {
			base = nil
		}
		p, b, err := d.payload(r, t.Chunks, k)
		if err != nil {
			return err
		}
		if err := codec.DecodeExact(dst, p, base, t.DType); err != nil {
			return r.damage(b, "chunk %d: %v", k, err)
		}
		return nil
	case codec.Residual:
		return d.residual(dst, r, k)
	case codec.Codebook:
		return d.codebook(dst, r, k)
	default:
		return r.damage(archive.Block{}, "unknown method %d", m)
	}
}

// payload reads a block of chunk k.
func (d *decoder) payload(r ref, blocks []archive.Block, k int64) ([]byte, archive.Block, error) {
	t := r.tensor()
	if int64(len(blocks)) != ChunkCount(t.Info) {
		return nil, archive.Block{}, r.damage(archive.Block{}, "%d chunks, but %v %v has %d", len(blocks), t.DType, t.Shape, ChunkCount(t.Info))
	}
	b := blocks[k]
	if b.Length > maxPayload {
		return nil, b, r.damage(b, "chunk %d is stored in %d bytes", k, b.Length)
	}
	var err error
	if d.block, err = r.r.Block(b, t.Name, d.block[:0]); err != nil {
		d.block = nil
		return nil, b, err
	}
	return d.block, b, nil
}

// residual adds a chunk's corrections to the base's bytes.
func (d *decoder) residual(dst []byte, r ref, k int64) error {
	t := r.tensor()
	p, b, err := d.payload(r, t.Chunks, k)
	if err != nil || len(p) == 0 {
		return err
	}
	m, err := r.model()
	if err != nil {
		return err
	}
	n, w := binary.Uvarint(p)
	if w <= 0 || n > uint64(len(p)-w) {
		return r.damage(b, "chunk %d: %v", k, errFraming)
	}
	start, elems := elements(t, dst, k)
	support, values := p[w:w+int(n)], p[w+int(n):]
	if d.pos, err = m.support.Decode(d.pos[:0], support, start, elems, nil); err == nil {
		err = d.symbols(m, values, start)
	}
	if err == nil {
		err = codec.ApplyResidual(dst, t.DType, d.pos, d.sym, m.centres)
	}
	if err != nil {
		return r.damage(b, "chunk %d: %v", k, err)
	}
	return nil
}

// codebook fills in a chunk of a moment.
func (d *decoder) codebook(dst []byte, r ref, k int64) error {
	if d.inMask {
		return r.damage(archive.Block{}, "a moment serves as weight")
	}
	clear(dst)
	t := r.tensor()
	start, elems := elements(t, dst, k)
	if err := d.positions(r, k, start, elems); err != nil || len(d.pos) == 0 {
		return err
	}
	m, err := r.model()
	if err != nil {
		return err
	}
	p, b, err := d.payload(r, t.Chunks, k)
	if err != nil {
		return err
	}
	if err = d.symbols(m, p, start); err == nil {
		err = codec.ApplyCodebook(dst, t.DType, d.pos, d.sym, m.centres)
	}
	if err != nil {
		return r.damage(b, "chunk %d: %v", k, err)
	}
	return nil
}

// positions finds the coded elements of a moment, in d.pos.
func (d *decoder) positions(r ref, k, start int64, elems int) error {
	d.pos = d.pos[:0]
	r, err := r.owner()
	if err != nil {
		return err
	}
	t := r.tensor()
	var domain codec.Bitmap
	// Before the block is read: decoding a weight uses the same memory.
	if t.Mask != "" && int64(len(t.Supports)) > k && t.Supports[k].Length > 0 {
		if domain, err = d.domainOf(r, start, int64(elems)); err != nil {
			return err
		}
	}
	p, b, err := d.payload(r, t.Supports, k)
	if err != nil || len(p) == 0 {
		return err
	}
	m, err := r.model()
	if err != nil {
		return err
	}
	if d.pos, err = m.support.Decode(d.pos[:0], p, start, elems, domain); err != nil {
		return r.damage(b, "support of chunk %d: %v", k, err)
	}
	return nil
}

// owner is the tensor that has the support of moment r: itself or another.
func (r ref) owner() (ref, error) {
	t := r.tensor()
	if t.Support < 0 {
		return r, nil
	}
	if t.Support < len(r.ix.Tensors) {
		o := ref{r.File, t.Support}
		if u := o.tensor(); codec.Method(u.Method) == codec.Codebook && u.Support < 0 &&
			sameShape(u.Info, t.Info) && u.DType.Width() == t.DType.Width() {
			return o, nil
		}
	}
	return ref{}, r.damage(archive.Block{}, "cannot share the support of tensor %d", t.Support)
}

func (d *decoder) symbols(m *model, p []byte, start int64) error {
	d.sym = slices.Grow(d.sym[:0], len(d.pos))[:len(d.pos)]
	return m.values.Decode(d.sym, p, start, d.pos)
}

// elements gives the first element and the number of elements of chunk k, decoded to dst.
func elements(t *archive.Tensor, dst []byte, k int64) (start int64, n int) {
	return k * codec.ChunkElems(t.DType, t.Shape), len(dst) / t.DType.Width()
}
