package decode

import (
	"crypto/sha256"
	"encoding/binary"
	"slices"

	"excpfs/archive"
	"excpfs/cache"
	"excpfs/codec"
)

// maskKind marks the keys of residual masks in the cache.
const maskKind = 1

// domainOf gives the residual mask of the weight that a moment belongs to, over
// n elements of it. The weight's chunks may be others: its masks are cut and joined.
func (d *decoder) domainOf(r ref, start, n int64) (codec.Bitmap, error) {
	w, b, err := r.weight()
	if err != nil {
		return nil, err
	}
	d.domain = slices.Grow(d.domain[:0], int(n+63)/64)[:(n+63)/64]
	clear(d.domain)
	per := codec.ChunkElems(w.tensor().DType, w.tensor().Shape)
	for at := start; at < start+n; {
		k := at / per
		if err := d.maskOf(w, b, k); err != nil {
			return nil, err
		}
		m := min(start+n, (k+1)*per) - at
		copyBits(d.domain, int(at-start), d.mask, int(at-k*per), int(m))
		at += m
	}
	return d.domain, nil
}

// weight finds the weight of a moment and the tensor that it is a residual of.
func (r ref) weight() (w, base ref, err error) {
	t := r.tensor()
	home := r.File
	if t.Weights >= 0 {
		if t.Weights >= len(r.deps) {
			return ref{}, ref{}, r.damage(archive.Block{}, "its weights are dependency %d of %d", t.Weights, len(r.deps))
		}
		home = r.deps[t.Weights]
	}
	if w, err = r.find(home, t.Mask); err != nil {
		return ref{}, ref{}, err
	}
	if t.Weights >= 0 {
		for i, dep := range r.ix.Deps[t.Weights+1:] {
			if dep.Role == archive.RoleWeightsBase {
				base, err = w.find(r.deps[t.Weights+1+i], t.Mask)
				if err == nil && base.tensor().DType != w.tensor().DType {
					err = r.damage(archive.Block{}, "its weight is %v, but %v in the base", w.tensor().DType, base.tensor().DType)
				}
				return w, base, err
			}
		}
	}
	if w.tensor().Base < 0 {
		return ref{}, ref{}, r.damage(archive.Block{}, "its weight in %s has no base", w.Name())
	}
	base, err = w.base()
	return w, base, err
}

// maskOf puts the mask of chunk k of a weight into d.mask. It is kept in the
// cache, so that both moments and all their chunks decode the weight once.
func (d *decoder) maskOf(w, b ref, k int64) error {
	_, size := chunkRange(w.tensor().Info, k)
	n := int(size) / w.tensor().DType.Width()
	d.mask = slices.Grow(d.mask[:0], (n+63)/64)[:(n+63)/64]
	key := maskKey(w, b, k)
	if e, ok := d.cache.Peek(key); ok {
		defer e.Release()
		if p := e.Bytes(); len(p) == 8*len(d.mask) {
			for i := range d.mask {
				d.mask[i] = binary.LittleEndian.Uint64(p[8*i:])
			}
			return nil
		}
	}
	if err := d.compare(w, b, k, int(size)); err != nil {
		return err
	}
	p := d.cache.Buffer(8 * len(d.mask))
	for i, m := range d.mask {
		binary.LittleEndian.PutUint64(p[8*i:], m)
	}
	d.cache.Put(key, p)
	return nil
}

// compare decodes chunk k of a weight and of its base and marks where they differ.
func (d *decoder) compare(w, b ref, k int64, size int) error {
	d.inMask = true
	defer func() { d.inMask = false }()
	d.base = slices.Grow(d.base[:0], size)[:size]
	d.weight = slices.Grow(d.weight[:0], size)[:size]
	if err := d.below(d.base, b, k); err != nil {
		return err
	}
	if err := d.above(d.weight, d.base, w, b, k); err != nil {
		return err
	}
	clear(d.mask)
	codec.Changed(d.mask, d.weight, d.base, w.tensor().DType)
	return nil
}

// above is below for a tensor whose base may be b, already decoded.
func (d *decoder) above(dst, base []byte, w, b ref, k int64) error {
	if d.peek(dst, w, k) {
		return nil
	}
	switch codec.Method(w.tensor().Method) {
	case codec.Same, codec.Delta, codec.Residual:
		if own, err := w.base(); err == nil && own == b {
			codec.Copy(dst, base)
			return d.apply(dst, w, k)
		}
	}
	return d.chunk(dst, w, k)
}

// maskKey depends on both contents: a weight encoded again may have another base.
func maskKey(w, b ref, k int64) cache.Key {
	var ids [32]byte
	copy(ids[:16], w.ix.ID[:])
	copy(ids[16:], b.ix.ID[:])
	h := sha256.Sum256(ids[:])
	return cache.Key{Content: [16]byte(h[:16]), Tensor: int32(w.i), Chunk: int32(k), Kind: maskKind}
}

// copyBits sets the bits of dst from i on that are set in the n bits of src from j on.
func copyBits(dst codec.Bitmap, i int, src codec.Bitmap, j, n int) {
	for n > 0 {
		m := min(n, 64-i&63) // into one word of dst
		v := src[j>>6] >> (j & 63)
		if j&63+m > 64 {
			v |= src[j>>6+1] << (64 - j&63)
		}
		if m < 64 {
			v &= 1<<m - 1
		}
		dst[i>>6] |= v << (i & 63)
		i, j, n = i+m, j+m, n-m
	}
}
