package decode

import (
	"errors"
	"fmt"
	"sync/atomic"

	"excpfs/archive"
	"excpfs/cache"
)

// maxDepth is the longest chain of dependencies that is followed.
const maxDepth = 255

// Resolver finds the archive of a content. The reader is the caller's to close.
type Resolver interface {
	Archive(id archive.ID, hint string) (*archive.Reader, error) // *archive.MissingError when it is nowhere
}

// set is the archives that decoding one file needs, each opened once. It is
// closed when the file is and nothing reads from it any more.
type set struct {
	cache *cache.Cache
	files map[archive.ID]*File // nil while its dependencies are looked for
	refs  atomic.Int64
}

// Open opens an archive and, through res, all it needs (transitively; cycles and
// depth beyond 255 are refused). It takes over r and closes it also on error. A nil
// res finds nothing.
func Open(r *archive.Reader, res Resolver, c *cache.Cache) (*File, error) {
	s := &set{cache: c, files: map[archive.ID]*File{}}
	s.refs.Store(1)
	f, err := s.open(r, res, 0)
	if err != nil {
		s.close()
		return nil, err
	}
	f.root = true
	return f, nil
}

// open adds an archive and what it needs to the set. level is how many archives
// need this one in a row.
func (s *set) open(r *archive.Reader, res Resolver, level int) (*File, error) {
	f, err := newFile(r, s)
	if err == nil && level > maxDepth {
		err = fmt.Errorf("%s: chain of more than %d archives", r.Name(), maxDepth)
	}
	if err != nil {
		r.Close()
		return nil, err
	}
	s.files[f.ix.ID] = nil
	for _, d := range f.ix.Deps {
		g, err := s.dependency(f, d, res, level)
		if err != nil {
			r.Close()
			return nil, err
		}
		f.deps = append(f.deps, g)
		f.depth = max(f.depth, g.depth+1)
	}
	if f.depth > maxDepth {
		r.Close()
		return nil, fmt.Errorf("%s: chain of more than %d archives", r.Name(), maxDepth)
	}
	s.files[f.ix.ID] = f
	return f, nil
}

func (s *set) dependency(f *File, d archive.Dep, res Resolver, level int) (*File, error) {
	if g, ok := s.files[d.ID]; ok {
		if g == nil {
			return nil, &archive.DamageError{File: f.Name(), What: fmt.Sprintf("base cycle through %x", d.ID)}
		}
		return g, nil
	}
	missing := &archive.MissingError{File: f.Name(), Role: d.Role, ID: d.ID, Hint: d.Hint}
	if res == nil {
		return nil, missing
	}
	r, err := res.Archive(d.ID, d.Hint)
	if nowhere := (*archive.MissingError)(nil); errors.As(err, &nowhere) {
		return nil, missing
	}
	if err != nil {
		return nil, fmt.Errorf("%s: open its base %x: %w", f.Name(), d.ID, err)
	}
	if id := r.Index().ID; id != d.ID {
		r.Close()
		return nil, &archive.DamageError{File: f.Name(), What: fmt.Sprintf("needs content %x, got %x from %s", d.ID, id, r.Name())}
	}
	return s.open(r, res, level+1)
}

// Close closes every archive. Slices not yet released stay valid, and reads
// under way end well. It must be called once; that of a Base does nothing.
func (f *File) Close() error {
	if !f.root {
		return nil
	}
	return f.set.release()
}

// acquire keeps the archives open until release; false: they are closed.
func (s *set) acquire() bool {
	for {
		n := s.refs.Load()
		if n == 0 {
			return false
		}
		if s.refs.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

func (s *set) release() error {
	if s.refs.Add(-1) > 0 {
		return nil
	}
	return s.close()
}

func (s *set) close() error {
	var errs []error
	for _, f := range s.files {
		if f != nil {
			errs = append(errs, f.r.Close())
		}
	}
	return errors.Join(errs...)
}
