package store

import (
	"os"
	"path"
)

// commitThaw puts temp in the place of the archive w, under all its names, and takes over temp.
func (s *Store) commitThaw(n *node, w *found, temp *os.File, keep int64) error {
	s.ns.Lock()
	defer s.ns.Unlock()
	d, name, gone := n.place()
	defer d.Release()
	c, err := s.control()
	if err != nil {
		return err
	}
	if gone {
		if err := s.host.Unlink(c.tmp, path.Base(temp.Name())); err != nil {
			return err
		}
		n.thaw(temp)
		return nil
	}
	now, err := d.find(name)
	if err != nil {
		return err
	}
	if now.a == nil || keyOf(&now.st) != keyOf(&w.st) {
		return ErrChanged
	}
	t := &thawed{arch: keyOf(&w.st), a: w.a}
	t.names = s.allNames(d, name, &now)
	defer t.release()
	t.link = s.next()
	if err := s.host.Link(d.fd(), now.host, c.tmp, t.link); err != nil {
		return err
	}
	if err := s.replaceArchive(c, t, &now, temp); err != nil {
		s.host.Unlink(c.tmp, t.link)
		return err
	}
	st, err := s.host.Stat(int(temp.Fd()), "")
	if err != nil || keep >= 0 {
		s.host.Unlink(c.tmp, t.link)
		t.link = ""
	}
	s.mu.Lock()
	s.alias[keyOf(&st)] = n.ino
	if t.link != "" {
		t.plain = identityOf(&st)
		t.hold()
		n.thawed = t
	}
	s.mu.Unlock()
	n.thaw(temp)
	for _, at := range t.names[:1] {
		s.enqueue(&st, at.d, at.name, keep >= 0)
	}
	for _, at := range t.names {
		s.linked(&st, at.d, at.name)
	}
	s.sweep()
	return nil
}

// thaw lets all handles see the plain file.
func (n *node) thaw(plain *os.File) {
	n.mu.Lock()
	n.plain = plain
	n.mu.Unlock()
}

// allNames gives every name of an archive in the store, with references to the folders. Needs ns.
func (s *Store) allNames(d *Dir, name string, w *found) []named {
	names := []named{{d.hold(), name}}
	if w.st.Nlink == 1 {
		return names
	}
	here := join(d.Path(), name)
	for _, p := range s.cat.names(keyOf(&w.st)) {
		folder, base := cutLast(p)
		if p == here {
			continue
		}
		other, err := s.dirAt(folder)
		if err != nil {
			continue
		}
		st, err := s.host.Stat(other.fd(), archiveName(base))
		if err == nil && keyOf(&st) == keyOf(&w.st) && !other.stands(base) {
			names = append(names, named{other, base})
		} else {
			other.Release()
		}
	}
	return names
}

// stands tells whether there is a plain file of that name.
func (d *Dir) stands(name string) bool {
	_, err := d.s.host.Stat(d.fd(), esc(name))
	return err == nil
}

// replaceArchive is the swap of a thaw: every name gets temp, then loses the archive.
func (s *Store) replaceArchive(c *control, t *thawed, w *found, temp *os.File) error {
	st, err := s.host.Stat(int(temp.Fd()), "")
	if err != nil {
		return err
	}
	tmp := spot{c.tmp, join(private, "tmp"), path.Base(temp.Name())}
	var paths []string
	for _, at := range t.names {
		paths = append(paths, join(at.d.Path(), at.name))
	}
	steps, k, err := s.retainStep(t.names[0].d.spot(archiveName(t.names[0].name)), w, true, paths...)
	if err != nil {
		return err
	}
	var unlinks, ends []step
	for _, at := range t.names {
		mtime, err := s.folderMtime(at.d)
		if err != nil {
			return err
		}
		steps = append(steps, linkStep(keyOf(&st), tmp, at.d.spot(esc(at.name))), syncStep(at.d.spot("")))
		unlinks = append(unlinks, unlinkStep(t.arch, at.d.spot(archiveName(at.name))))
		ends = append(ends, syncStep(at.d.spot("")), mtimeStep(at.d.spot(""), mtime))
	}
	unlinks = append(unlinks, unlinkStep(keyOf(&st), tmp))
	if err := s.commit(append(append(steps, unlinks...), ends...)); err != nil {
		return err
	}
	for _, path := range paths {
		s.cat.remove(path)
	}
	if k != nil {
		s.cat.add(k)
	}
	return nil
}
