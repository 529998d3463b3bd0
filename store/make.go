package store

import (
	"golang.org/x/sys/unix"
)

// Caller is on whose behalf something is made.
type Caller struct{ UID, GID uint32 }

// Mkdir makes a folder.
func (d *Dir) Mkdir(name string, mode uint32, c Caller) (Entry, error) {
	return d.make(name, mode, c, func(host string) error {
		return d.s.host.Mkdir(d.fd(), host, mode&0o7777)
	})
}

// Mknod makes a device, pipe, socket or empty file.
func (d *Dir) Mknod(name string, mode uint32, dev uint64, c Caller) (Entry, error) {
	return d.make(name, mode, c, func(host string) error {
		return d.s.host.Mknod(d.fd(), host, mode&^setID, dev)
	})
}

// Symlink makes a symbolic link.
func (d *Dir) Symlink(name, target string, c Caller) (Entry, error) {
	return d.make(name, 0, c, func(host string) error {
		return d.s.host.Symlink(target, d.fd(), host)
	})
}

// make makes an entry that is one host entry and gives it to the caller.
func (d *Dir) make(name string, mode uint32, c Caller, call func(host string) error) (Entry, error) {
	if err := d.vacant(name); err != nil {
		return Entry{}, err
	}
	d.s.share()
	defer d.s.ns.RUnlock()
	host, err := d.free(name)
	if err != nil {
		return Entry{}, err
	}
	if err := call(host); err != nil {
		return Entry{}, err
	}
	st, err := d.s.host.Stat(d.fd(), host)
	if err == nil {
		err = d.own(host, &st, mode, c)
	}
	if err != nil {
		d.s.host.Unlink(d.fd(), host)
		d.s.host.Rmdir(d.fd(), host)
		return Entry{}, err
	}
	st, err = d.s.host.Stat(d.fd(), host)
	if err != nil {
		return Entry{}, err
	}
	return d.entry(found{host: host, st: st}, name)
}

// vacant refuses what can never be made, before any lock.
func (d *Dir) vacant(name string) error {
	if d.s.readOnly {
		return unix.EROFS
	}
	return d.makeable(name)
}

// free is the host name for a new plain entry. Needs ns.
func (d *Dir) free(name string) (string, error) {
	switch _, err := d.find(name); err {
	case nil:
		return "", unix.EEXIST
	case unix.ENOENT:
		return esc(name), nil
	default:
		return "", err
	}
}

// own gives what was just made to the caller. The host has done what a folder with setgid asks for.
func (d *Dir) own(host string, st *unix.Statx_t, mode uint32, c Caller) error {
	gid := int(c.GID)
	if parent, err := d.s.host.Stat(d.fd(), ""); err != nil {
		return err
	} else if parent.Mode&unix.S_ISGID != 0 {
		gid = int(st.Gid)
	}
	if st.Uid != c.UID || st.Gid != uint32(gid) {
		if err := d.s.host.Chown(d.fd(), host, int(c.UID), gid); err != nil {
			return err
		}
	}
	if mode&setID != 0 {
		return d.s.host.Chmod(d.fd(), host, uint32(st.Mode)&0o7777|mode&setID)
	}
	return nil
}

// setID bits are given last: before that the file is the daemon's.
const setID = unix.S_ISUID | unix.S_ISGID

// Readlink reads a symbolic link.
func (d *Dir) Readlink(name string) (string, error) {
	d.s.share()
	defer d.s.ns.RUnlock()
	w, err := d.find(name)
	if err != nil {
		return "", err
	}
	return d.s.host.Readlink(d.fd(), w.host)
}

// Rmdir removes an empty folder.
func (d *Dir) Rmdir(name string) error {
	if d.s.readOnly {
		return unix.EROFS
	}
	d.s.share()
	defer d.s.ns.RUnlock()
	w, err := d.find(name)
	switch {
	case err != nil:
		return err
	case !w.isDir():
		return unix.ENOTDIR
	}
	return d.s.host.Rmdir(d.fd(), w.host)
}
