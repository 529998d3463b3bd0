package store

import (
	"golang.org/x/sys/unix"
)

// Link makes another name of a file.
func (d *Dir) Link(name string, to *Dir, toName string) (Entry, error) {
	if err := to.vacant(toName); err != nil {
		return Entry{}, err
	}
	n, e, err := d.link(name, to, toName)
	if n == nil {
		return e, err
	}
	defer n.release()
	if err := d.s.thaw(n, -1); err != nil {
		return Entry{}, err
	}
	again, e, err := d.link(name, to, toName)
	if again != nil {
		again.release()
		err = ErrBusy
	}
	return e, err
}

// link returns the node of a file to be thawed, as rename.
func (d *Dir) link(name string, to *Dir, toName string) (*node, Entry, error) {
	s := d.s
	s.ns.Lock()
	defer s.ns.Unlock()
	w, err := d.find(name)
	if err != nil {
		return nil, Entry{}, err
	}
	if w.isDir() {
		return nil, Entry{}, unix.EPERM
	}
	target, err := to.free(toName)
	if err != nil {
		return nil, Entry{}, err
	}
	if w.a != nil {
		if !sealable(toName) {
			return s.acquire(s.number(&w.st, w.a), d, name), Entry{}, errSealed
		}
		target = archiveName(toName)
	}
	if err := s.host.Link(d.fd(), w.host, to.fd(), target); err != nil {
		return nil, Entry{}, err
	}
	if w.st, err = s.host.Stat(to.fd(), target); err != nil {
		return nil, Entry{}, err
	}
	if w.a == nil {
		s.linked(&w.st, d, name)
		s.linked(&w.st, to, toName)
	}
	if w.a != nil && w.a.summary != nil {
		s.cat.add(knownAt(join(to.Path(), toName), &w.st, w.a))
	}
	e, err := to.entry(found{host: target, st: w.st, a: w.a}, toName)
	return nil, e, err
}
