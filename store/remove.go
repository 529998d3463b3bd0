package store

import (
	"time"

	"excpfs/archive"
	"excpfs/host"

	"golang.org/x/sys/unix"
)

// Unlink removes a name. An archive that others need, or that may become a base, is retained.
func (d *Dir) Unlink(name string) error {
	if d.s.readOnly {
		return unix.EROFS
	}
	if done, err := d.unlinkPlain(name); done {
		return err
	}
	s := d.s
	s.ns.Lock()
	defer s.ns.Unlock()
	w, err := d.find(name)
	switch {
	case err != nil:
		return err
	case w.isDir():
		return unix.EISDIR
	case w.a != nil:
		return d.removeArchive(name, &w)
	}
	if err := d.purge(name); err != nil {
		return err
	}
	return d.removePlain(&w)
}

// unlinkPlain is the common case, one host operation; false: it is another one.
func (d *Dir) unlinkPlain(name string) (bool, error) {
	d.s.share()
	defer d.s.ns.RUnlock()
	w, err := d.find(name)
	switch {
	case err != nil:
		return true, err
	case w.isDir():
		return true, unix.EISDIR
	case w.a != nil || w.isFile() && d.hidden(name):
		return false, nil
	}
	return true, d.removePlain(&w)
}

func (d *Dir) removePlain(w *found) error {
	if w.isFile() { // else a file made at this moment might be taken for it
		if fd, err := d.s.host.Pin(d.fd(), w.host); err == nil {
			defer unix.Close(fd)
		}
	}
	if err := d.s.host.Unlink(d.fd(), w.host); err != nil {
		return err
	}
	d.s.gone(w)
	return nil
}

// gone forgets a plain file, or takes away one of its names. w is as before.
func (s *Store) gone(w *found) {
	s.removed(&w.st, w.a)
	switch {
	case w.a != nil || !w.isFile():
	case w.st.Nlink <= 1:
		s.unqueue(keyOf(&w.st))
	case w.st.Nlink == 2:
		s.oneLeft(keyOf(&w.st))
	}
}

// hidden tells whether a plain file stands before an archive of its name. Needs ns.
func (d *Dir) hidden(name string) bool {
	if !sealable(name) {
		return false
	}
	_, err := d.s.host.Stat(d.fd(), archiveName(name))
	return err == nil
}

// purge takes away an archive behind a plain file. Needs ns exclusively.
func (d *Dir) purge(name string) error {
	if !sealable(name) {
		return nil
	}
	w := found{host: archiveName(name)}
	var err error
	if w.st, w.a, err = d.archive(w.host); err != nil || w.a == nil {
		return err
	}
	return d.removeArchive(name, &w)
}

// removeArchive unlinks an archive or moves it to retained. Needs ns exclusively.
func (d *Dir) removeArchive(name string, w *found) error {
	s := d.s
	path := join(d.Path(), name)
	if w.unread() {
		return w.a.err
	}
	k := s.retainable(w, false, path)
	if k != nil {
		to, err := s.retainedSpot(k.summary.ID)
		if err != nil {
			return err
		}
		err = s.host.RenameNew(d.fd(), w.host, to.dir, to.name)
		if err != nil && err != unix.EEXIST {
			return err
		}
		if err == unix.EEXIST {
			k = nil
		}
	}
	if k == nil {
		if err := s.host.Unlink(d.fd(), w.host); err != nil {
			return err
		}
	}
	s.left(path, w, k)
	s.sweep()
	return nil
}

// unread: an archive that may be whole and needed, but the host does not let us look.
func (w *found) unread() bool { return w.a != nil && w.a.summary == nil && hostError(w.a.err) }

// retainable gives the catalogue's entry for an archive about to lose its names at paths, nil if it may go.
func (s *Store) retainable(w *found, thaw bool, paths ...string) *known {
	if w.a == nil || w.a.summary == nil || !s.cat.mustRetain(paths, w.a.summary, host.Nanos(w.st.Mtime), thaw) {
		return nil
	}
	k := knownAt(paths[0], &w.st, w.a)
	k.retained = true
	k.since = time.Now().UnixNano()
	return k
}

// left tells memory that the entry at path lost its name; k: it is retained.
func (s *Store) left(path string, w *found, k *known) {
	s.gone(w)
	if w.a == nil {
		return
	}
	s.cat.remove(path)
	if k != nil {
		s.cat.add(k)
	}
}

func (s *Store) retainedSpot(id archive.ID) (spot, error) {
	c, err := s.control()
	if err != nil {
		return spot{}, err
	}
	return spot{c.retained, join(private, "retained"), retainedName(id)}, nil
}

// retainStep is the step that keeps an archive at from which others are put over, nil if it may go or is kept already.
func (s *Store) retainStep(from spot, w *found, thaw bool, paths ...string) ([]step, *known, error) {
	if w.unread() {
		return nil, nil, w.a.err
	}
	k := s.retainable(w, thaw, paths...)
	if k == nil {
		return nil, nil, nil
	}
	to, err := s.retainedSpot(k.summary.ID)
	if err != nil {
		return nil, nil, err
	}
	if _, err := s.host.Stat(to.dir, to.name); err != unix.ENOENT {
		return nil, nil, err
	}
	return []step{linkStep(k.key, from, to)}, k, nil
}

// sweep removes the retained archives that nothing needs any more. While files wait to be
// sealed it removes none: each may turn out to be an edited or later form of one. Needs ns exclusively.
func (s *Store) sweep() {
	c := s.existing()
	if c == nil || s.expecting() {
		return
	}
	for {
		all := s.cat.expired(time.Now())
		for _, k := range all {
			err := s.host.Unlink(c.retained, retainedName(k.summary.ID))
			if err != nil && err != unix.ENOENT {
				s.log.Error("retained archive not removed", "id", retainedName(k.summary.ID), "reason", err)
				return
			}
			s.cat.unretain(k.summary.ID)
		}
		if len(all) == 0 {
			return
		}
	}
}

// expecting tells whether a queued file may want what is retained. One that waits longer than the grace and was
// not thawed is none: a log, open for as long as the training runs.
func (s *Store) expecting() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for k, it := range s.queue.m {
		if _, thawed := s.alias[k]; thawed || time.Since(it.queued) < grace {
			return true
		}
	}
	return false
}
