package store

import (
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// dirfd is the descriptor of a folder (O_PATH), apart from the Dir so that it can be closed
// after that; -1: closed. Descriptors are few and the kernel knows any number of folders, so
// those not used lately are closed, under ns exclusively, and opened again when they are needed.
type dirfd struct {
	fd    atomic.Int32
	count *atomic.Int64 // of those open
}

// dirfd takes over fd.
func (s *Store) dirfd(fd int) *dirfd {
	h := &dirfd{count: &s.openDirs}
	h.fd.Store(-1)
	h.take(fd)
	return h
}

// take gives a closed one a descriptor, or closes that.
func (h *dirfd) take(fd int) {
	if !h.fd.CompareAndSwap(-1, int32(fd)) {
		unix.Close(fd) // somebody was faster
		return
	}
	h.count.Add(1)
}

func (h *dirfd) close() {
	if fd := h.fd.Swap(-1); fd >= 0 {
		unix.Close(int(fd))
		h.count.Add(-1)
	}
}

// What fd returns where there is none: every call with it fails.
const (
	noFolder = -1 // any more
	noAccess = -2 // for want of descriptors, say
)

// fd holds as long as ns is held.
func (d *Dir) fd() int {
	d.used.Store(true)
	if fd := d.held.fd.Load(); fd >= 0 {
		return int(fd)
	}
	return d.reopen()
}

// there tells whether the folder can be used.
func (d *Dir) there() error {
	switch d.fd() {
	case noFolder:
		return unix.ENOENT
	case noAccess:
		return unix.EMFILE
	}
	return nil
}

// reopen finds the folder where it was last seen.
func (d *Dir) reopen() int {
	s := d.s
	s.mu.Lock()
	parent, name := d.parent, d.host
	s.mu.Unlock()
	if parent == nil {
		return noFolder
	}
	up := parent.fd()
	if up < 0 {
		return up
	}
	fd, err := s.host.OpenDir(up, name)
	switch err {
	case nil:
	case unix.ENOENT, unix.ENOTDIR, unix.ELOOP:
		return noFolder
	default:
		return noAccess
	}
	if st, err := s.host.Stat(fd, ""); err != nil || keyOf(&st) != d.key {
		unix.Close(fd)
		return noFolder
	}
	d.held.take(fd)
	return int(d.held.fd.Load())
}

// maxDirs leaves half of the descriptors that the process may have to files.
func maxDirs() int64 {
	var lim unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &lim) != nil {
		return 512
	}
	return int64(min(lim.Cur/2, 1<<20))
}

// share takes ns shared, having closed descriptors of folders if there are too many.
func (s *Store) share() {
	if s.openDirs.Load() > s.maxDirs {
		s.ns.Lock()
		s.closeDirs(s.maxDirs / 2)
		s.ns.Unlock()
	}
	s.ns.RLock()
}

// closeDirs leaves no more than n, first of those not used since the last time. Needs ns exclusively.
func (s *Store) closeDirs(n int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, all := range []bool{false, true} {
		for _, d := range s.dirs {
			if s.openDirs.Load() <= n {
				return
			}
			if d != s.root && (!d.used.Swap(false) || all) {
				d.held.close()
			}
		}
	}
}
