package host

import (
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Chmod changes the mode of an entry; a symbolic link has none.
func (h *FS) Chmod(dir int, name string, mode uint32) error {
	if err := h.ask("chmod", name); err != nil {
		return err
	}
	fd, err := h.open(dir, name, unix.O_PATH, 0)
	if err == unix.ELOOP {
		return unix.EOPNOTSUPP
	}
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	// fchmodat with AT_SYMLINK_NOFOLLOW needs Linux 6.6, fchmod no O_PATH descriptor.
	return unix.Chmod(procName(fd), mode)
}

// Chown changes the owner of an entry or link; -1 leaves.
func (h *FS) Chown(dir int, name string, uid, gid int) error {
	if err := h.ask("chown", name); err != nil {
		return err
	}
	return unix.Fchownat(dir, name, uid, gid, unix.AT_SYMLINK_NOFOLLOW)
}

// Utimes sets times of an entry or link; nil leaves.
func (h *FS) Utimes(dir int, name string, atime, mtime *time.Time) error {
	if err := h.ask("utimens", name); err != nil {
		return err
	}
	ts := []unix.Timespec{timespec(atime), timespec(mtime)}
	return unix.UtimesNanoAt(dir, name, ts, unix.AT_SYMLINK_NOFOLLOW)
}

// Fchmod, Fchown and Futimes are the same for an open file.
func (h *FS) Fchmod(f *os.File, mode uint32) error {
	if err := h.ask("chmod", f.Name()); err != nil {
		return err
	}
	return unix.Fchmod(int(f.Fd()), mode)
}

func (h *FS) Fchown(f *os.File, uid, gid int) error {
	if err := h.ask("chown", f.Name()); err != nil {
		return err
	}
	return unix.Fchown(int(f.Fd()), uid, gid)
}

func (h *FS) Futimes(f *os.File, atime, mtime *time.Time) error {
	if err := h.ask("utimens", f.Name()); err != nil {
		return err
	}
	ts := []unix.Timespec{timespec(atime), timespec(mtime)}
	return unix.UtimesNanoAt(unix.AT_FDCWD, procName(int(f.Fd())), ts, 0)
}

// entry is a path to an entry of a held folder, for the xattr calls; "" the folder itself.
func entry(dir int, name string) string {
	if name == "" {
		name = "."
	}
	return procName(dir) + "/" + name
}

func (h *FS) Getxattr(dir int, name, attr string) ([]byte, error) {
	return grow(func(b []byte) (int, error) { return unix.Lgetxattr(entry(dir, name), attr, b) })
}

func (h *FS) Listxattr(dir int, name string) ([]string, error) {
	b, err := grow(func(b []byte) (int, error) { return unix.Llistxattr(entry(dir, name), b) })
	return split(b), err
}

func (h *FS) Setxattr(dir int, name, attr string, v []byte, flags int) error {
	if err := h.ask("setxattr", name); err != nil {
		return err
	}
	return unix.Lsetxattr(entry(dir, name), attr, v, flags)
}

func (h *FS) Removexattr(dir int, name, attr string) error {
	if err := h.ask("removexattr", name); err != nil {
		return err
	}
	return unix.Lremovexattr(entry(dir, name), attr)
}

// Fgetxattr, Flistxattr, Fsetxattr and Fremovexattr are the same for an open file.
func (h *FS) Fgetxattr(f *os.File, attr string) ([]byte, error) {
	return grow(func(b []byte) (int, error) { return unix.Fgetxattr(int(f.Fd()), attr, b) })
}

func (h *FS) Flistxattr(f *os.File) ([]string, error) {
	b, err := grow(func(b []byte) (int, error) { return unix.Flistxattr(int(f.Fd()), b) })
	return split(b), err
}

func (h *FS) Fsetxattr(f *os.File, attr string, v []byte, flags int) error {
	if err := h.ask("setxattr", attr); err != nil {
		return err
	}
	return unix.Fsetxattr(int(f.Fd()), attr, v, flags)
}

func (h *FS) Fremovexattr(f *os.File, attr string) error {
	if err := h.ask("removexattr", attr); err != nil {
		return err
	}
	return unix.Fremovexattr(int(f.Fd()), attr)
}

// CopyMeta gives to the owner, mode, ACLs, xattrs and times of f.
func (h *FS) CopyMeta(f, to *os.File) error {
	st, err := h.Stat(int(f.Fd()), "")
	if err != nil {
		return err
	}
	if err := h.Fchown(to, int(st.Uid), int(st.Gid)); err != nil {
		return err
	}
	// An ACL that it inherited from its folder would let others in.
	err = h.Fremovexattr(to, "system.posix_acl_access")
	if err != nil && err != unix.ENODATA && err != unix.EOPNOTSUPP {
		return err
	}
	if err := h.Fchmod(to, uint32(st.Mode)&0o7777); err != nil {
		return err
	}
	if err := h.copyXattrs(f, to); err != nil {
		return err
	}
	atime, mtime := time.Unix(0, Nanos(st.Atime)), time.Unix(0, Nanos(st.Mtime))
	return h.Futimes(to, &atime, &mtime)
}

func (h *FS) copyXattrs(f, to *os.File) error {
	list, err := h.Flistxattr(f)
	if err == unix.EOPNOTSUPP {
		return nil
	}
	if err != nil {
		return err
	}
	for _, attr := range list {
		v, err := h.Fgetxattr(f, attr)
		if err != nil {
			return err
		}
		err = h.Fsetxattr(to, attr, v, 0)
		// Labels of a security module may be set by nobody: the host gave the file its own.
		if err != nil && !strings.HasPrefix(attr, "security.") {
			return err
		}
	}
	return nil
}

// grow calls with a larger buffer until the answer fits.
func grow(call func([]byte) (int, error)) ([]byte, error) {
	for {
		n, err := call(nil)
		if err != nil || n == 0 {
			return nil, err
		}
		b := make([]byte, n)
		n, err = call(b)
		if err != unix.ERANGE {
			return b[:max(n, 0)], err
		}
	}
}

func split(list []byte) []string {
	if len(list) == 0 {
		return nil
	}
	return strings.Split(strings.TrimSuffix(string(list), "\x00"), "\x00")
}
