package store

import (
	"excpfs/archive"

	"golang.org/x/sys/unix"
)

// thawed is what makes a file that was thawed and not changed its archive again.
type thawed struct {
	link  string // another name of the archive, in tmp
	arch  key
	a     *sealed
	plain archive.FileIdentity // right after the thaw
	names []named              // several, if the archive had hard links
}

type named struct {
	d    *Dir
	name string
}

// hold needs s.mu; release gives the folders up.
func (t *thawed) hold() {
	for _, at := range t.names {
		at.d.refs++
	}
}

func (t *thawed) release() {
	for _, at := range t.names {
		at.d.Release()
	}
}

// refreeze puts the archive back, when the last handle of a thawed file goes and nothing was changed.
// Needs ns exclusively.
func (s *Store) refreeze(n *node, t *thawed) {
	c := s.existing()
	defer t.release()
	if len(t.names) == 1 { // it may have moved
		t.names[0].d.Release()
		t.names[0] = named{n.dir.hold(), n.name}
	}
	st, err := s.host.Stat(int(n.plain.Fd()), "")
	if err == nil && identityOf(&st) == t.plain && !n.gone && sealable(t.names[0].name) {
		if err = s.putBack(c, t, &st); err == nil {
			return
		}
		s.log.Warn("unchanged file stays plain", "path", join(t.names[0].d.Path(), t.names[0].name), "reason", err)
	}
	s.host.Unlink(c.tmp, t.link)
}

func (s *Store) putBack(c *control, t *thawed, st *unix.Statx_t) error {
	tmp := spot{c.tmp, join(private, "tmp"), t.link}
	var steps, unlinks, ends []step
	for _, at := range t.names {
		mtime, err := s.folderMtime(at.d)
		if err != nil {
			return err
		}
		plain := at.d.spot(esc(at.name))
		unlink := unlinkSameStep(st, plain)
		if len(t.names) > 1 { // the first unlink changes the ctime
			unlink = unlinkStep(keyOf(st), plain)
		}
		steps = append(steps, linkStep(t.arch, tmp, at.d.spot(archiveName(at.name))), syncStep(at.d.spot("")))
		unlinks = append(unlinks, unlink)
		ends = append(ends, syncStep(at.d.spot("")), mtimeStep(at.d.spot(""), mtime))
	}
	unlinks = append(unlinks, unlinkStep(t.arch, tmp))
	retained := t.a.summary != nil && s.retainedIs(c, t)
	if retained {
		to := spot{c.retained, join(private, "retained"), retainedName(t.a.summary.ID)}
		unlinks = append(unlinks, unlinkStep(t.arch, to))
	}
	if err := s.commit(append(append(steps, unlinks...), ends...)); err != nil {
		return err
	}
	if retained {
		s.cat.unretain(t.a.summary.ID)
	}
	s.mu.Lock()
	delete(s.alias, keyOf(st))
	s.mu.Unlock()
	s.unqueue(keyOf(st))
	for _, at := range t.names {
		if now, err := at.d.find(at.name); err == nil && now.a != nil && now.a.summary != nil {
			s.cat.add(knownAt(join(at.d.Path(), at.name), &now.st, now.a))
		}
	}
	return nil
}

// retainedIs tells whether the retained archive of the content is this one.
func (s *Store) retainedIs(c *control, t *thawed) bool {
	st, err := s.host.Stat(c.retained, retainedName(t.a.summary.ID))
	return err == nil && keyOf(&st) == t.arch
}
