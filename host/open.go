package host

import (
	"os"

	"golang.org/x/sys/unix"
)

const resolve = unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS

// changes tells whether an open with these flags can change something by itself.
func changes(flags int) bool {
	return flags&(unix.O_CREAT|unix.O_TRUNC) != 0 || flags&unix.O_TMPFILE == unix.O_TMPFILE
}

// Open opens an entry of a folder. The name is kept for messages only.
func (h *FS) Open(dir int, name string, flags int, mode uint32, label string) (*os.File, error) {
	fd, err := h.open(dir, name, flags, mode)
	return file(fd, err, label)
}

// OpenDir returns a descriptor that holds a folder (O_PATH).
func (h *FS) OpenDir(dir int, name string) (int, error) {
	return h.open(dir, name, unix.O_PATH|unix.O_DIRECTORY, 0)
}

// Pin keeps the inode of an entry from being used again until it is closed.
func (h *FS) Pin(dir int, name string) (int, error) {
	return h.open(dir, name, unix.O_PATH, 0)
}

// Written reports whether anybody has a file that is open for reading here open for writing, as far as the host
// tells: it grants no read lease then.
func (h *FS) Written(f *os.File) bool {
	_, err := unix.FcntlInt(f.Fd(), unix.F_SETLEASE, unix.F_RDLCK)
	if err == nil {
		unix.FcntlInt(f.Fd(), unix.F_SETLEASE, unix.F_UNLCK)
	}
	return err == unix.EAGAIN
}

// ReadDir opens a held folder for reading its entries.
func (h *FS) ReadDir(dir int) ([]os.DirEntry, error) {
	f, err := h.Open(dir, ".", unix.O_RDONLY|unix.O_DIRECTORY, 0, ".")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return f.ReadDir(-1)
}

func (h *FS) open(dir int, name string, flags int, mode uint32) (fd int, err error) {
	if changes(flags) {
		if err := h.ask("open", name); err != nil {
			return -1, err
		}
	}
	how := unix.OpenHow{Flags: uint64(flags | unix.O_CLOEXEC | unix.O_NOFOLLOW), Resolve: resolve}
	if flags&unix.O_PATH == 0 { // which refuses it
		how.Flags |= unix.O_NOCTTY
	}
	if flags&unix.O_CREAT != 0 || flags&unix.O_TMPFILE == unix.O_TMPFILE {
		how.Mode = uint64(mode)
	}
	for {
		fd, err = unix.Openat2(dir, name, &how)
		// EAGAIN: a rename elsewhere raced with the check of RESOLVE_BENEATH.
		if err != unix.EINTR && err != unix.EAGAIN {
			return fd, err
		}
	}
}

// OpenRoot opens the folder that is to be a store by its path, following links.
func (h *FS) OpenRoot(path string) (*os.File, error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	return file(fd, err, path)
}
