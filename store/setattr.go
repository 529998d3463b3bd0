package store

import (
	"time"

	"golang.org/x/sys/unix"
)

// SetAttr lists changes; nil: leave.
type SetAttr struct {
	Mode         *uint32
	UID, GID     *uint32
	Size         *int64
	Atime, Mtime *time.Time
}

// target is what attributes are set on: an entry or an open file.
type target struct {
	chown  func(uid, gid int) error
	chmod  func(mode uint32) error
	utimes func(atime, mtime *time.Time) error
}

// apply sets all but the size. The owner comes before the mode, because chown takes setuid away.
func (a *SetAttr) apply(t target) error {
	if a.UID != nil || a.GID != nil {
		if err := t.chown(id(a.UID), id(a.GID)); err != nil {
			return err
		}
	}
	if a.Mode != nil {
		if err := t.chmod(*a.Mode & 0o7777); err != nil {
			return err
		}
	}
	if a.Atime != nil || a.Mtime != nil {
		return t.utimes(a.Atime, a.Mtime)
	}
	return nil
}

func id(n *uint32) int {
	if n == nil {
		return -1
	}
	return int(int32(*n))
}

// SetAttr changes what set names. Truncating a sealed file thaws it.
func (f File) SetAttr(set SetAttr) (Attr, error) {
	d, s := f.Dir, f.Dir.s
	if s.readOnly {
		return Attr{}, unix.EROFS
	}
	if set.Size != nil {
		if err := f.truncate(*set.Size); err != nil {
			return Attr{}, err
		}
	}
	s.share()
	defer s.ns.RUnlock()
	w, err := f.find()
	if err != nil {
		return Attr{}, err
	}
	h := s.host
	err = set.apply(target{
		chown:  func(uid, gid int) error { return h.Chown(d.fd(), w.host, uid, gid) },
		chmod:  func(mode uint32) error { return h.Chmod(d.fd(), w.host, mode) },
		utimes: func(atime, mtime *time.Time) error { return h.Utimes(d.fd(), w.host, atime, mtime) },
	})
	if err != nil {
		return Attr{}, err
	}
	st, err := h.Stat(d.fd(), w.host)
	return s.attr(st, w.a), err
}

// truncate goes through a handle, like a process that opens, truncates and closes.
func (f File) truncate(size int64) error {
	if size < 0 || f.Name == "" {
		return unix.EINVAL
	}
	s := f.Dir.s
	s.share()
	w, err := f.find()
	s.ns.RUnlock()
	switch {
	case err != nil:
		return err
	case w.isDir():
		return unix.EISDIR
	case w.a != nil && w.a.summary != nil && w.a.summary.Size == size:
		now := time.Now()
		_, err := f.SetAttr(SetAttr{Mtime: &now})
		return err
	case size == 0:
		h, err := f.Open(unix.O_WRONLY | unix.O_TRUNC)
		if err == nil {
			h.Release()
		}
		return err
	case w.a != nil:
		if err := f.cut(size); err != nil && err != errPlain {
			return err
		}
	}
	h, err := f.Open(unix.O_WRONLY)
	if err != nil {
		return err
	}
	defer h.Release()
	return s.host.Truncate(h.f, size)
}

// cut thaws no more of a sealed file than is kept.
func (f File) cut(size int64) error {
	s := f.Dir.s
	s.share()
	w, err := f.find()
	if err != nil || w.a == nil {
		s.ns.RUnlock()
		if err == nil {
			err = errPlain
		}
		return err
	}
	n := s.acquire(s.number(&w.st, w.a), f.Dir, f.Name)
	s.ns.RUnlock()
	defer n.release()
	return s.thaw(n, size)
}

// SetAttr is SetAttr of an open file, whether or not it has a name.
func (h *Handle) SetAttr(set SetAttr) (Attr, error) {
	s := h.s
	if s.readOnly {
		return Attr{}, unix.EROFS
	}
	if set.Size != nil {
		if err := h.truncate(*set.Size); err != nil {
			return Attr{}, err
		}
	}
	f := h.host()
	err := set.apply(target{
		chown:  func(uid, gid int) error { return s.host.Fchown(f, uid, gid) },
		chmod:  func(mode uint32) error { return s.host.Fchmod(f, mode) },
		utimes: func(atime, mtime *time.Time) error { return s.host.Futimes(f, atime, mtime) },
	})
	if err != nil {
		return Attr{}, err
	}
	return h.Attr()
}

func (h *Handle) truncate(size int64) error {
	if size < 0 {
		return unix.EINVAL
	}
	if h.f != nil && h.write {
		return h.s.host.Truncate(h.f, size)
	}
	if f := h.file(); f == nil {
		if err := h.s.thaw(h.n, size); err != nil {
			return err
		}
	}
	if f := h.file(); f != nil && h.f == nil {
		return h.s.host.Truncate(f, size)
	}
	return unix.EINVAL
}
