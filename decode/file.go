package decode

import (
	"fmt"
	"slices"

	lru "github.com/hashicorp/golang-lru/v2"

	"excpfs/archive"
	"excpfs/cache"
	"excpfs/tensor"
)

// File is a decoded file. It holds every archive that decoding needs, open, so
// nothing that happens to the store takes them away. Safe for concurrent use.
type File struct {
	r       *archive.Reader
	ix      *archive.Index
	extents extents
	deps    []*File // of ix.Deps
	depth   int
	models  *lru.Cache[int, *model]
	set     *set
	root    bool // the one that Open returned
}

// keptModels bounds the parsed models of one file: they are as long as a row
// and a column of the tensor.
const keptModels = 64

func newFile(r *archive.Reader, s *set) (*File, error) {
	models, err := lru.New[int, *model](keptModels)
	if err != nil {
		return nil, fmt.Errorf("decode: %w", err)
	}
	ix := r.Index()
	return &File{r: r, ix: ix, extents: newExtents(ix.Layout()), models: models, set: s}, nil
}

// Index is shared: not to be changed.
func (f *File) Index() *archive.Index { return f.ix }

// Name of the archive, for messages.
func (f *File) Name() string { return f.r.Name() }

// Size of the decoded file in bytes.
func (f *File) Size() int64 { return f.ix.Size }

// Base is the file whose weights this one's are residuals of, or nil. It lives as long as f.
func (f *File) Base() *File {
	for i, d := range f.ix.Deps {
		if d.Role == archive.RoleBase {
			return f.deps[i]
		}
	}
	return nil
}

// ref names one tensor of a file.
type ref struct {
	*File
	i int
}

func (r ref) tensor() *archive.Tensor { return &r.ix.Tensors[r.i] }

func (r ref) key(k int64) cache.Key {
	return cache.Key{Content: r.ix.ID, Tensor: int32(r.i), Chunk: int32(k)}
}

// damage reports that a tensor cannot be decoded; b is the block at fault, or
// empty where the index is.
func (r ref) damage(b archive.Block, format string, args ...any) error {
	return &archive.DamageError{File: r.Name(), Tensor: r.tensor().Name, Offset: b.Offset, What: fmt.Sprintf(format, args...)}
}

// base is the tensor that r is decoded against.
func (r ref) base() (ref, error) {
	t := r.tensor()
	if t.Base < 0 || t.Base >= len(r.deps) {
		return ref{}, r.damage(archive.Block{}, "method %d needs a base", t.Method)
	}
	b, err := r.find(r.deps[t.Base], t.Name)
	if err == nil && b.tensor().DType != t.DType {
		err = r.damage(archive.Block{}, "is %v, but %v in its base %s", t.DType, b.tensor().DType, b.Name())
	}
	return b, err
}

// find looks up the tensor of a name in g, which r refers to and which must have r's shape.
func (r ref) find(g *File, name string) (ref, error) {
	i, ok := g.r.Find(name)
	if !ok {
		return ref{}, r.damage(archive.Block{}, "refers to tensor %q, which is not in %s", name, g.Name())
	}
	f := ref{g, i}
	if !sameShape(r.tensor().Info, f.tensor().Info) {
		return ref{}, r.damage(archive.Block{}, "has shape %v, but %q of %s has %v", r.tensor().Shape, name, g.Name(), f.tensor().Shape)
	}
	return f, nil
}

func sameShape(a, b tensor.Info) bool { return slices.Equal(a.Shape, b.Shape) }
