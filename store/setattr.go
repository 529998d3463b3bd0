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

// SetAttr changes what set names. name "" means the folder itself. Truncating a sealed file thaws it.
func (d *Dir) SetAttr(name string, set SetAttr) (Attr, error) {
	if d.s.readOnly {
		return Attr{}, unix.EROFS
	}
	if set.Size != nil {
		if err := d.truncate(name, *set.Size); err != nil {
			return Attr{}, err
		}
	}
	d.s.ns.RLock()
	defer d.s.ns.RUnlock()
	w, err := d.self(name)
	if err != nil {
		return Attr{}, err
	}
	h := d.s.host
	err = set.apply(target{
		chown:  func(uid, gid int) error { return h.Chown(d.fd, w.host, uid, gid) },
		chmod:  func(mode uint32) error { return h.Chmod(d.fd, w.host, mode) },
		utimes: func(atime, mtime *time.Time) error { return h.Utimes(d.fd, w.host, atime, mtime) },
	})
	if err != nil {
		return Attr{}, err
	}
	st, err := h.Stat(d.fd, w.host)
	return d.s.attr(st, w.a), err
}

// self is find, with "" for the folder itself. Needs ns.
func (d *Dir) self(name string) (found, error) {
	if name != "" {
		return d.find(name)
	}
	st, err := d.s.host.Stat(d.fd, ".")
	return found{host: ".", st: st}, err
}

// truncate goes through a handle, like a process that opens, truncates and closes.
func (d *Dir) truncate(name string, size int64) error {
	if size < 0 || name == "" {
		return unix.EINVAL
	}
	e, err := d.Lookup(name)
	if err != nil {
		return err
	}
	if e.Dir != nil {
		e.Dir.Release()
		return unix.EISDIR
	}
	if e.Form == Sealed && int64(e.Attr.Size) == size {
		now := time.Now()
		_, err := d.SetAttr(name, SetAttr{Mtime: &now})
		return err
	}
	if size == 0 {
		h, err := d.Open(name, unix.O_WRONLY|unix.O_TRUNC)
		if err == nil {
			h.Release()
		}
		return err
	}
	if e.Form == Sealed {
		if err := d.cut(name, size); err != nil && err != errPlain {
			return err
		}
	}
	h, err := d.Open(name, unix.O_WRONLY)
	if err != nil {
		return err
	}
	defer h.Release()
	return d.s.host.Truncate(h.f, size)
}

// cut thaws no more of a sealed file than is kept.
func (d *Dir) cut(name string, size int64) error {
	d.s.ns.RLock()
	w, err := d.find(name)
	if err != nil || w.a == nil {
		d.s.ns.RUnlock()
		if err == nil {
			err = errPlain
		}
		return err
	}
	n := d.s.acquire(d.s.number(&w.st, w.a), d, name)
	d.s.ns.RUnlock()
	defer n.release()
	return d.s.thaw(n, size)
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
	f := h.file()
	if f == nil {
		f = h.n.arch
	}
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
