package host

import (
	"os"

	"golang.org/x/sys/unix"
)

func (h *FS) Mkdir(dir int, name string, mode uint32) error {
	if err := h.ask("mkdir", name); err != nil {
		return err
	}
	return unix.Mkdirat(dir, name, mode)
}

func (h *FS) Mknod(dir int, name string, mode uint32, dev uint64) error {
	if err := h.ask("mknod", name); err != nil {
		return err
	}
	return unix.Mknodat(dir, name, mode, int(dev))
}

func (h *FS) Symlink(target string, dir int, name string) error {
	if err := h.ask("symlink", name); err != nil {
		return err
	}
	return unix.Symlinkat(target, dir, name)
}

func (h *FS) Readlink(dir int, name string) (string, error) {
	for n := 256; ; n *= 2 {
		b := make([]byte, n)
		got, err := unix.Readlinkat(dir, name, b)
		if err != nil {
			return "", err
		}
		if got < n {
			return string(b[:got]), nil
		}
	}
}

func (h *FS) Unlink(dir int, name string) error {
	if err := h.ask("unlink", name); err != nil {
		return err
	}
	return unix.Unlinkat(dir, name, 0)
}

func (h *FS) Rmdir(dir int, name string) error {
	if err := h.ask("rmdir", name); err != nil {
		return err
	}
	return unix.Unlinkat(dir, name, unix.AT_REMOVEDIR)
}

// Rename is renameat2; flags are RENAME_NOREPLACE and the like.
func (h *FS) Rename(dir int, name string, to int, toName string, flags uint32) error {
	if err := h.ask("rename", name); err != nil {
		return err
	}
	if flags == 0 {
		return unix.Renameat(dir, name, to, toName)
	}
	return unix.Renameat2(dir, name, to, toName, uint(flags))
}

// RenameNew is Rename to a name that is not there. Where the host has no RENAME_NOREPLACE (NFS),
// only the caller's lock keeps others from making it in between.
func (h *FS) RenameNew(dir int, name string, to int, toName string) error {
	err := h.Rename(dir, name, to, toName, unix.RENAME_NOREPLACE)
	if err != unix.EINVAL && err != unix.ENOSYS {
		return err
	}
	if _, there := h.Stat(to, toName); there != unix.ENOENT {
		return unix.EEXIST
	}
	return h.Rename(dir, name, to, toName, 0)
}

func (h *FS) Link(dir int, name string, to int, toName string) error {
	if err := h.ask("link", name); err != nil {
		return err
	}
	return unix.Linkat(dir, name, to, toName, 0)
}

// LinkFile gives a name to a file made with O_TMPFILE.
func (h *FS) LinkFile(f *os.File, to int, toName string) error {
	if err := h.ask("link", toName); err != nil {
		return err
	}
	return unix.Linkat(unix.AT_FDCWD, procName(int(f.Fd())), to, toName, unix.AT_SYMLINK_FOLLOW)
}

// SyncDir makes the entries of a held folder durable.
func (h *FS) SyncDir(dir int) error {
	if err := h.ask("fsync", "."); err != nil {
		return err
	}
	fd, err := h.open(dir, ".", unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return retry(func() error { return unix.Fsync(fd) })
}
