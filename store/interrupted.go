package store

import (
	"time"

	"excpfs/archive"
	"excpfs/host"

	"golang.org/x/sys/unix"
)

// finishSwaps finishes the swaps that were interrupted and whose intent is lost: an archive behind the very
// plain file that it was made of.
func (s *Store) finishSwaps() {
	for _, path := range s.cat.hidden() {
		folder, name := cutLast(path)
		d, err := s.Dir(folder)
		if err != nil {
			continue
		}
		s.ns.Lock()
		err = s.finishSwap(d, name)
		s.ns.Unlock()
		if err != nil {
			s.log.Warn("an archive stays behind the plain file of its name", "path", path, "reason", err)
		}
		d.Release()
	}
}

// finishSwap needs ns exclusively.
func (s *Store) finishSwap(d *Dir, name string) error {
	w, err := d.find(name)
	if err != nil || w.a != nil || !w.isFile() || w.st.Nlink > 1 {
		return err
	}
	st, a, err := d.archive(archiveName(name))
	if err != nil || a == nil || a.summary == nil || a.trailer.Plain != identityOf(&w.st) {
		return err
	}
	if busy, err := s.busy(d, name, &w); busy || err != nil {
		return err
	}
	if err := s.complete(d, name); err != nil {
		return err
	}
	if err := s.resolves(a); err != nil {
		return err
	}
	mtime, err := s.folderMtime(d)
	if err != nil {
		return err
	}
	if untouched(mtime, &st) && a.trailer.FolderMtime != 0 {
		mtime = a.trailer.FolderMtime
	}
	ino := s.number(&w.st, nil)
	err = s.commit([]step{syncStep(d.spot("")), unlinkSameStep(&w.st, d.spot(w.host)), syncStep(d.spot("")), mtimeStep(d.spot(""), mtime)})
	if err != nil {
		return err
	}
	s.swapped(&w.st, &st, a, ino)
	s.unqueue(keyOf(&w.st))
	s.cat.add(knownAt(join(d.Path(), name), &st, a))
	return nil
}

// busy: somebody has a plain file open.
func (s *Store) busy(d *Dir, name string, w *found) (bool, error) {
	ino := s.number(&w.st, nil)
	s.mu.Lock()
	n := s.nodes[ino]
	s.mu.Unlock()
	if n != nil {
		return true, nil
	}
	f, err := s.host.Open(d.fd(), w.host, unix.O_RDONLY, 0, name)
	if err != nil {
		return false, err
	}
	defer f.Close()
	return s.host.Written(f), nil
}

// complete opens the archive of a name, which reads it up to its blocks.
func (s *Store) complete(d *Dir, name string) error {
	f, err := s.host.Open(d.fd(), archiveName(name), unix.O_RDONLY, 0, name)
	if err != nil {
		return err
	}
	fi, err := f.Stat()
	if err != nil {
		f.Close()
		return err
	}
	r, err := archive.Open(f, fi.Size(), name)
	if err != nil {
		f.Close()
		return err
	}
	return r.Close()
}

// tick is how far apart two stamps of one host operation may be.
const tick = 10 * time.Millisecond

// untouched: the last change of a folder was the rename that gave the archive its name.
func untouched(folder int64, archive *unix.Statx_t) bool {
	apart := time.Duration(folder - host.Nanos(archive.Ctime))
	return apart.Abs() <= tick
}
