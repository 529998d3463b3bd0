package store

import (
	"os"

	"golang.org/x/sys/unix"
)

// Create makes (or opens, without O_EXCL) a file. flags are open(2)'s.
// Opening a sealed file for writing thaws it first (O_TRUNC: a new plain file).
func (d *Dir) Create(name string, flags int, mode uint32, c Caller) (Entry, *Handle, error) {
	if err := d.vacant(name); err != nil {
		return Entry{}, nil, err
	}
	for {
		e, h, err := d.create(name, flags, mode, c)
		if err != unix.EEXIST || flags&unix.O_EXCL != 0 {
			return e, h, err
		}
		h, err = d.Open(name, flags)
		if err == unix.ENOENT {
			continue
		}
		if err != nil {
			return Entry{}, nil, err
		}
		e.Attr, err = h.Attr()
		if h.Sealed() {
			e.Form = Sealed
		}
		return e, h, err
	}
}

func (d *Dir) create(name string, flags int, mode uint32, c Caller) (Entry, *Handle, error) {
	s := d.s
	s.share()
	defer s.ns.RUnlock()
	hostName, err := d.free(name)
	if err != nil {
		return Entry{}, nil, err
	}
	f, err := s.host.Open(d.fd(), hostName, hostFlags(flags)|unix.O_CREAT|unix.O_EXCL, mode&0o7777&^setID, name)
	if err != nil {
		return Entry{}, nil, err
	}
	st, err := s.host.Stat(int(f.Fd()), "")
	if err == nil {
		err = d.own(hostName, &st, mode, c)
	}
	if err == nil {
		st, err = s.host.Stat(int(f.Fd()), "")
	}
	if err != nil {
		s.host.Unlink(d.fd(), hostName)
		f.Close()
		return Entry{}, nil, err
	}
	at := s.attr(st, nil)
	s.enqueue(&st, d, name, true)
	return Entry{Attr: at}, s.handle(s.acquire(at.Ino, d, name), f, true), nil
}

// hostFlags are those of open(2) that concern the host: the kernel has resolved append and direct I/O.
func hostFlags(flags int) int {
	return flags & (unix.O_ACCMODE | unix.O_TRUNC | unix.O_DSYNC | unix.O_SYNC)
}

func writes(flags int) bool { return flags&unix.O_ACCMODE != unix.O_RDONLY || flags&unix.O_TRUNC != 0 }

// Open opens the file.
func (o File) Open(flags int) (*Handle, error) {
	s := o.Dir.s
	if writes(flags) && s.readOnly {
		return nil, unix.EROFS
	}
	h, n, err := o.open(flags)
	for tries := 0; err == errSealed && tries < 10; tries++ {
		// The node is held across, so that the thawed file is not taken for closed.
		keep := int64(-1)
		if flags&unix.O_TRUNC != 0 {
			keep = 0
		}
		err = s.thaw(n, keep)
		var next *node
		if err == nil {
			h, next, err = o.open(flags)
		}
		n.release()
		n = next
	}
	if err == errSealed {
		n.release()
		err = ErrBusy
	}
	return h, err
}

// open opens what is there; errSealed comes with a reference to the node of a file that is to be thawed first.
func (o File) open(flags int) (*Handle, *node, error) {
	d, name, s := o.Dir, o.Name, o.Dir.s
	s.share()
	w, err := o.find()
	if err == nil {
		err = openable(&w)
	}
	if err != nil {
		s.ns.RUnlock()
		return nil, nil, err
	}
	n := s.acquire(s.number(&w.st, w.a), d, name)
	if w.a != nil && writes(flags) {
		s.ns.RUnlock()
		return nil, n, errSealed
	}
	if w.a == nil && writes(flags) {
		s.enqueue(&w.st, d, name, flags&unix.O_TRUNC != 0)
	}
	label := name
	if w.a != nil {
		label = join(d.Path(), w.host)
	}
	f, err := s.host.Open(d.fd(), w.host, hostFlags(flags), 0, label)
	s.ns.RUnlock()
	if err == nil && w.a != nil {
		if err = n.opened(f, w.a); err == nil {
			return s.handle(n, nil, false), nil, nil
		}
	}
	if err != nil {
		n.release()
		return nil, nil, err
	}
	return s.handle(n, f, writes(flags)), nil, nil
}

func openable(w *found) error {
	switch w.st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		return nil
	case unix.S_IFDIR:
		return unix.EISDIR
	case unix.S_IFLNK:
		return unix.ELOOP
	}
	return unix.ENXIO
}

// Tmpfile is O_TMPFILE; LinkTo gives it a name later.
func (d *Dir) Tmpfile(flags int, mode uint32, c Caller) (Attr, *Handle, error) {
	s := d.s
	if s.readOnly {
		return Attr{}, nil, unix.EROFS
	}
	s.share()
	defer s.ns.RUnlock()
	keep := flags & unix.O_EXCL // it is never to have a name
	f, err := s.host.Open(d.fd(), ".", hostFlags(flags)&^unix.O_TRUNC|keep|unix.O_TMPFILE, mode&0o7777&^setID, "tmpfile")
	if err != nil {
		return Attr{}, nil, err
	}
	st, err := s.ownFile(f, d, mode, c)
	if err != nil {
		f.Close()
		return Attr{}, nil, err
	}
	at := s.attr(st, nil)
	return at, s.handle(s.acquire(at.Ino, d, ""), f, true), nil
}

// ownFile is own for a file without a name.
func (s *Store) ownFile(f *os.File, d *Dir, mode uint32, c Caller) (unix.Statx_t, error) {
	st, err := s.host.Stat(int(f.Fd()), "")
	if err != nil {
		return st, err
	}
	folder, err := s.host.Stat(d.fd(), "")
	if err != nil {
		return st, err
	}
	gid := c.GID
	if folder.Mode&unix.S_ISGID != 0 {
		gid = st.Gid
	}
	if st.Uid != c.UID || st.Gid != gid {
		if err := s.host.Fchown(f, int(c.UID), int(gid)); err != nil {
			return st, err
		}
	}
	if mode&setID != 0 {
		if err := s.host.Fchmod(f, uint32(st.Mode)&0o7777|mode&setID); err != nil {
			return st, err
		}
	}
	return s.host.Stat(int(f.Fd()), "")
}
