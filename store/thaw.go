package store

import (
	"context"
	"io"
	"os"
	"time"

	"excpfs/decode"

	"golang.org/x/sys/unix"
)

// thaw makes the file of n plain, with the first keep bytes of its content (-1: all). It decodes without
// a lock on the namespace and commits only if nothing happened to the file meanwhile. n is held by the caller.
func (s *Store) thaw(n *node, keep int64) error {
	n.work.Lock()
	defer n.work.Unlock()
	f, w, err := s.toThaw(n)
	if err != nil || f == nil {
		return err
	}
	defer f.Close()
	if w.st.Nlink > 1 { // the other names are in the catalogue, or outside the store
		if err := s.scanned(context.Background()); err != nil {
			return err
		}
		if len(s.cat.names(keyOf(&w.st))) < int(w.st.Nlink) {
			s.rescan()
		}
	}
	temp, err := s.thawInto(n, f, &w, keep)
	if err != nil {
		return err
	}
	err = s.commitThaw(n, &w, temp, keep)
	if err != nil {
		s.Discard(temp)
	}
	return err
}

// toThaw opens the archive that n is now; no file and no error: n is plain already.
func (s *Store) toThaw(n *node) (*os.File, found, error) {
	s.share()
	defer s.ns.RUnlock()
	n.mu.RLock()
	plain, arch, a := n.plain, n.arch, n.a
	n.mu.RUnlock()
	if plain != nil {
		return nil, found{}, nil
	}
	d, name, gone := n.place()
	defer d.Release()
	if gone {
		if arch == nil {
			return nil, found{}, unix.ENOENT
		}
		st, err := s.host.Stat(int(arch.Fd()), "")
		if err != nil {
			return nil, found{}, err
		}
		fd, err := unix.FcntlInt(arch.Fd(), unix.F_DUPFD_CLOEXEC, 0)
		return os.NewFile(uintptr(fd), arch.Name()), found{st: st, a: a}, err
	}
	w, err := d.find(name)
	switch {
	case err != nil:
		return nil, w, err
	case s.number(&w.st, w.a) != n.ino:
		return nil, w, ErrChanged
	case w.a == nil:
		return nil, w, nil
	}
	f, err := s.host.Open(d.fd(), w.host, unix.O_RDONLY, 0, join(d.Path(), w.host))
	return f, w, err
}

// thawInto makes the plain file in tmp, complete with metadata, durable.
func (s *Store) thawInto(n *node, f *os.File, w *found, keep int64) (*os.File, error) {
	temp, err := s.Temp()
	if err != nil {
		return nil, err
	}
	if keep != 0 {
		err = s.decodeInto(n, f, w, temp, keep)
	}
	if err == nil {
		err = s.host.CopyMeta(f, temp)
	}
	if now := time.Now(); err == nil && keep >= 0 {
		err = s.host.Futimes(temp, nil, &now)
	}
	if err == nil {
		err = s.host.Sync(temp, false)
	}
	if err != nil {
		s.Discard(temp)
		return nil, err
	}
	return temp, nil
}

func (s *Store) decodeInto(n *node, f *os.File, w *found, temp *os.File, keep int64) error {
	if w.a.err != nil {
		return w.a.err
	}
	dec, _ := n.current()
	if dec == nil {
		own, err := s.decoded(f)
		if err != nil {
			return err
		}
		defer own.Close()
		dec = own
	}
	return s.copyDecoded(dec, temp, keep)
}

func (s *Store) copyDecoded(dec *decode.File, temp *os.File, keep int64) error {
	end := dec.Size()
	if keep >= 0 {
		end = min(end, keep)
	}
	b := make([]byte, min(end, copyPiece))
	for off := int64(0); off < end; off += int64(len(b)) {
		b = b[:min(end-off, copyPiece)]
		if _, err := dec.ReadAt(b, off); err != nil && err != io.EOF {
			return err
		}
		if err := s.host.Write(temp, b); err != nil {
			return err
		}
	}
	return nil
}
