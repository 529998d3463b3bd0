package main

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"

	"excpfs/seal"
	"excpfs/store"
)

// dress gives to what was unpacked owner, mode, xattrs and mtime of its source.
func dress(to string, t item) error {
	a := t.entry.Attr
	mode := uint32(a.Mode) & 0o7777
	if os.Geteuid() == 0 {
		if err := os.Lchown(to, int(a.Uid), int(a.Gid)); err != nil && !errors.Is(err, unix.EPERM) {
			return err
		}
	}
	var st unix.Stat_t
	if err := unix.Lstat(to, &st); err != nil {
		return &os.PathError{Op: "lstat", Path: to, Err: err}
	}
	if st.Uid != a.Uid || st.Gid != a.Gid {
		mode &^= unix.S_ISUID | unix.S_ISGID
	}
	if a.Mode&unix.S_IFMT != unix.S_IFLNK {
		if err := copyXattrs(to, t); err != nil {
			return err
		}
		if err := unix.Chmod(to, mode); err != nil {
			return &os.PathError{Op: "chmod", Path: to, Err: err}
		}
	}
	times := []unix.Timespec{{Nsec: unix.UTIME_OMIT}, {Sec: a.Mtime.Sec, Nsec: int64(a.Mtime.Nsec)}}
	if err := unix.UtimesNanoAt(unix.AT_FDCWD, to, times, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return &os.PathError{Op: "utimens", Path: to, Err: err}
	}
	return nil
}

// copyXattrs replaces the ACLs that the new thing inherited. Some file systems have no xattrs.
func copyXattrs(to string, t item) error {
	f := store.File{Dir: t.dir, Name: t.name}
	if t.entry.Dir != nil {
		f = store.File{Dir: t.entry.Dir}
	}
	for _, acl := range []string{"system.posix_acl_access", "system.posix_acl_default"} {
		unix.Lremovexattr(to, acl) // most have none
	}
	list, err := f.Listxattr()
	if err != nil {
		return err
	}
	for _, attr := range list {
		if !seal.Keeps(attr) {
			continue
		}
		v, err := f.Getxattr(attr)
		if err == nil {
			err = unix.Lsetxattr(to, attr, v, 0)
		}
		if err != nil && err != unix.EOPNOTSUPP {
			return &os.PathError{Op: "setxattr " + attr, Path: to, Err: err}
		}
	}
	return nil
}
