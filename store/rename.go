package store

import (
	"os"

	"golang.org/x/sys/unix"
)

// Rename is renameat2; flags may be RENAME_NOREPLACE or RENAME_EXCHANGE.
func (d *Dir) Rename(name string, to *Dir, toName string, flags uint32) error {
	switch {
	case d.s.readOnly:
		return unix.EROFS
	case flags != 0 && flags != unix.RENAME_NOREPLACE && flags != unix.RENAME_EXCHANGE:
		return unix.EINVAL
	}
	if err := to.makeable(toName); err != nil {
		return err
	}
	if err := d.secure(name, to, toName); err != nil {
		return err
	}
	for {
		tooLong, err := d.rename(name, to, toName, flags)
		if tooLong == nil {
			return err
		}
		err = d.s.thaw(tooLong, -1)
		// Held until the name has changed, or it would be sealed again at once.
		if err == nil {
			_, err = d.rename(name, to, toName, flags)
		}
		tooLong.release()
		if err != errSealed {
			return err
		}
	}
}

// secure makes the bytes of a plain file durable that is about to replace a sealed one. For a rename over a file
// many hosts do so themselves, since programs count on it; to them this is a rename to a new name.
func (d *Dir) secure(name string, to *Dir, toName string) error {
	s := d.s
	s.share()
	src, err := d.find(name)
	dst, dstErr := to.find(toName)
	var f *os.File
	if err == nil && dstErr == nil && src.a == nil && src.isFile() && dst.a != nil {
		f, err = s.host.Open(d.fd(), src.host, unix.O_RDONLY, 0, name)
	}
	s.ns.RUnlock()
	if f == nil || err != nil { // what is wrong with the names the rename will tell
		return nil
	}
	defer f.Close()
	return s.host.Sync(f, true)
}

// move is a rename under way.
type move struct {
	s        *Store
	d, to    *Dir
	name     string
	toName   string
	src, dst found
	replace  bool // dst is there
}

// rename returns the node of a file that has to be thawed because its new name is too long for an archive.
func (d *Dir) rename(name string, to *Dir, toName string, flags uint32) (*node, error) {
	s := d.s
	s.ns.Lock()
	defer s.ns.Unlock()
	m := move{s: s, d: d, to: to, name: name, toName: toName}
	var err error
	if m.src, err = d.find(name); err != nil {
		return nil, err
	}
	if m.dst, err = to.find(toName); err != nil && err != unix.ENOENT {
		return nil, err
	}
	m.replace = err == nil
	if m.src.a != nil && !sealable(toName) {
		return s.acquire(s.number(&m.src.st, m.src.a), d, name), errSealed
	}
	if flags == unix.RENAME_EXCHANGE {
		if !m.replace {
			return nil, unix.ENOENT
		}
		if m.dst.a != nil && !sealable(name) {
			return s.acquire(s.number(&m.dst.st, m.dst.a), to, toName), errSealed
		}
		return nil, m.exchange()
	}
	if m.replace && flags == unix.RENAME_NOREPLACE {
		return nil, unix.EEXIST
	}
	return nil, m.rename()
}

func (m *move) rename() error {
	switch {
	case m.replace && keyOf(&m.src.st) == keyOf(&m.dst.st):
		return nil
	case m.replace && m.src.isDir() && !m.dst.isDir():
		return unix.ENOTDIR
	case m.replace && !m.src.isDir() && m.dst.isDir():
		return unix.EISDIR
	}
	if err := m.purge(); err != nil {
		return err
	}
	target := esc(m.toName)
	switch {
	case m.src.a != nil:
		target = archiveName(m.toName)
	case m.replace && m.src.isDir(): // one host operation, which looks whether the other is empty
		target = m.dst.host
	}
	var keep *known
	var err error
	from, path := m.paths()
	if !m.replace {
		err = m.s.host.RenameNew(m.d.fd(), m.src.host, m.to.fd(), target)
	} else {
		keep, err = m.over(target)
	}
	if err != nil {
		return err
	}
	if m.replace {
		m.s.left(path, &m.dst, keep)
	}
	m.s.went(&m.src, from, m.to, m.toName, target)
	m.s.sweep()
	return nil
}

func (m *move) paths() (from, to string) {
	return join(m.d.Path(), m.name), join(m.to.Path(), m.toName)
}

// purge takes away archives that stand behind plain files on either side.
func (m *move) purge() error {
	if m.src.a == nil && m.src.isFile() {
		if err := m.d.purge(m.name); err != nil {
			return err
		}
	}
	if m.replace && m.dst.a == nil && m.dst.isFile() {
		return m.to.purge(m.toName)
	}
	return nil
}

// over renames over something: one host operation where both have one form and the old archive may go.
func (m *move) over(target string) (*known, error) {
	_, path := m.paths()
	steps, keep, err := m.s.retainStep(m.to.spot(m.dst.host), &m.dst, false, path)
	if err != nil {
		return nil, err
	}
	if target == m.dst.host && steps == nil {
		return nil, m.s.host.Rename(m.d.fd(), m.src.host, m.to.fd(), target, 0)
	}
	// A move that replaces cannot be taken back: it is the last step.
	steps = append(steps, moveStep(keyOf(&m.src.st), m.d.spot(m.src.host), m.to.spot(target)))
	if target != m.dst.host {
		steps = append(steps, syncStep(m.to.spot("")), unlinkStep(keyOf(&m.dst.st), m.to.spot(m.dst.host)))
	}
	return keep, m.s.commit(steps)
}

// went tells memory that an entry is at another place now.
func (s *Store) went(w *found, from string, to *Dir, name, host string) {
	path := join(to.Path(), name)
	if w.isDir() {
		s.cat.renameFolder(from, path)
	} else if w.a != nil {
		s.cat.rename(from, path)
	}
	_, was := cutLast(from)
	s.follow(w, was, to, name, host)
}

// follow keeps folders, open files and the queue right.
func (s *Store) follow(w *found, was string, to *Dir, name, host string) {
	if w.isDir() {
		s.mu.Lock()
		if d := s.dirs[keyOf(&w.st)]; d != nil {
			d.place(to, host, name)
		}
		s.mu.Unlock()
		s.queueMoved()
		return
	}
	s.moved(s.number(&w.st, w.a), to, name)
	if w.a == nil {
		s.renamed(w, was, to, name)
	}
}
