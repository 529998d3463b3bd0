package store

import (
	"context"
	"errors"
	"os"

	"excpfs/archive"

	"golang.org/x/sys/unix"
)

// Archive opens the archive of a content (decode.Resolver): retained, the hint, the catalogue.
func (s *Store) Archive(id archive.ID, hint string) (*archive.Reader, error) {
	if r, err := s.openRetained(id); err == nil {
		return r, nil
	}
	if r, err := s.openContent(id, hint); err == nil {
		return r, nil
	}
	if err := s.scanned(context.Background()); err != nil {
		return nil, err
	}
	r, err := s.openKnown(id, hint)
	if errors.As(err, new(*archive.MissingError)) && s.rescan() {
		return s.openKnown(id, hint)
	}
	return r, err
}

// openKnown looks in the catalogue.
func (s *Store) openKnown(id archive.ID, hint string) (*archive.Reader, error) {
	var failed error = &archive.MissingError{ID: id, Hint: hint}
	for _, k := range s.cat.content(id) {
		r, err := s.openContent(id, k.path)
		if k.retained {
			r, err = s.openRetained(id)
		}
		if err == nil {
			return r, nil
		}
		if !errors.Is(err, unix.ENOENT) && !errors.As(err, new(*archive.MissingError)) {
			failed = err
		}
	}
	return nil, failed
}

func (s *Store) openRetained(id archive.ID) (*archive.Reader, error) {
	c := s.existing()
	if c == nil {
		return nil, unix.ENOENT
	}
	name := retainedName(id)
	f, err := s.host.Open(c.retained, name, unix.O_RDONLY, 0, join(private+"/retained", name))
	if err != nil {
		return nil, err
	}
	return s.reader(f, id, name)
}

func (s *Store) openContent(id archive.ID, path string) (*archive.Reader, error) {
	f, w, err := s.openAt(path, true)
	if err != nil {
		return nil, err
	}
	if w.a.summary == nil || w.a.summary.ID != id {
		f.Close()
		return nil, &archive.MissingError{ID: id, Hint: path}
	}
	return s.reader(f, id, path)
}

// reader takes over f, which must hold the content.
func (s *Store) reader(f *os.File, id archive.ID, hint string) (*archive.Reader, error) {
	st, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, err
	}
	r, err := archive.Open(f, st.Size(), f.Name())
	if err != nil {
		f.Close()
		return nil, err
	}
	if r.Index().ID != id {
		r.Close()
		return nil, &archive.MissingError{ID: id, Hint: hint}
	}
	return r, nil
}

// OpenArchive opens the archive at a path.
func (s *Store) OpenArchive(path string) (*archive.Reader, error) {
	f, w, err := s.openAt(path, false)
	if err != nil {
		return nil, err
	}
	r, err := archive.Open(f, int64(w.st.Size), path)
	if err != nil {
		f.Close()
	}
	return r, err
}

// openAt opens the archive at a path for reading; hidden: also one behind a plain file.
func (s *Store) openAt(p string, hidden bool) (*os.File, found, error) {
	folder, name := cutLast(p)
	s.share()
	defer s.ns.RUnlock()
	d, err := s.dirAt(folder)
	if err != nil {
		return nil, found{}, err
	}
	defer d.Release()
	w, err := d.find(name)
	if err == nil && w.a == nil && hidden && sealable(name) {
		w.host = archiveName(name)
		w.st, w.a, err = d.archive(w.host)
	}
	if err == nil && w.a == nil {
		err = archive.ErrNotArchive
	}
	if err != nil {
		return nil, w, err
	}
	f, err := s.host.Open(d.fd(), w.host, unix.O_RDONLY, 0, p)
	return f, w, err
}
