package seal

import (
	"errors"
	"os"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"excpfs/store"
)

// The ACLs of a file and those that a folder hands down.
const (
	accessACL  = "system.posix_acl_access"
	defaultACL = "system.posix_acl_default"
)

// Keeps reports whether a copy keeps the xattr: users' own and ACLs; user.excpfs ones are made up.
func Keeps(attr string) bool {
	return attr == accessACL || attr == defaultACL || strings.HasPrefix(attr, "user.") && !strings.HasPrefix(attr, "user.excpfs.")
}

// xattrs reads what Keeps of a file or folder.
func xattrs(from string) (map[string][]byte, error) {
	list, err := filled(func(b []byte) (int, error) { return unix.Listxattr(from, b) })
	if err != nil {
		return nil, err
	}
	kept := map[string][]byte{}
	for _, attr := range strings.Split(string(list), "\x00") {
		if !Keeps(attr) {
			continue
		}
		v, err := filled(func(b []byte) (int, error) { return unix.Getxattr(from, attr, b) })
		if err != nil {
			return nil, err
		}
		kept[attr] = v
	}
	return kept, nil
}

// filled calls with a buffer of the largest size that an xattr, or the list of them, can have.
func filled(call func([]byte) (int, error)) ([]byte, error) {
	b := make([]byte, 64<<10)
	n, err := call(b)
	if err == unix.EOPNOTSUPP || err == unix.ENODATA {
		return nil, nil
	}
	return b[:max(n, 0)], err
}

// target is what gets the metadata of a source: an entry of the store or an open file of it.
type target interface {
	SetAttr(store.SetAttr) (store.Attr, error)
	Setxattr(attr string, v []byte, flags int) error
	Removexattr(attr string) error
}

// dress gives to owner, mode, xattrs and mtime of an item.
func dress(to target, it *item) error {
	if err := copyXattrs(it.from, to.Setxattr, to.Removexattr); err != nil {
		return err
	}
	set := ownerAndTime(it)
	set.Mode = new(mode(it.info))
	_, err := to.SetAttr(set)
	return err
}

// ownerAndTime is all that a symlink has. The group is not the source's by itself: a setgid folder gives its own.
func ownerAndTime(it *item) store.SetAttr {
	set := store.SetAttr{Mtime: new(it.info.ModTime())}
	if os.Geteuid() == 0 {
		o := owner(it.info)
		set.UID, set.GID = &o.UID, &o.GID
	}
	return set
}

// copyXattrs replaces an inherited ACL too: it would let others in.
func copyXattrs(from string, set func(string, []byte, int) error, remove func(string) error) error {
	list, err := xattrs(from)
	if err != nil {
		return err
	}
	for _, acl := range []string{accessACL, defaultACL} {
		if _, ok := list[acl]; ok {
			continue
		}
		err := remove(acl)
		if err != nil && !errors.Is(err, unix.ENODATA) && !errors.Is(err, unix.EOPNOTSUPP) && !errors.Is(err, unix.EACCES) {
			return err
		}
	}
	for attr, v := range list {
		if err := set(attr, v, 0); err != nil && !errors.Is(err, unix.EOPNOTSUPP) {
			return err
		}
	}
	return nil
}

// copyXattrsTo is for an archive that has no name yet.
func copyXattrsTo(temp *os.File, from string) error {
	return copyXattrs(from,
		func(attr string, v []byte, flags int) error { return unix.Fsetxattr(int(temp.Fd()), attr, v, flags) },
		func(attr string) error { return unix.Fremovexattr(int(temp.Fd()), attr) })
}

// mode of what is made like the source: the set-ID bits only where the owner is the same too.
func mode(fi os.FileInfo) uint32 {
	st, ok := fi.Sys().(*syscall.Stat_t)
	if !ok {
		return uint32(fi.Mode().Perm())
	}
	if o := owner(fi); o.UID != st.Uid || o.GID != st.Gid {
		return st.Mode & 0o1777
	}
	return st.Mode & 0o7777
}
