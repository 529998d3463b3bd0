package host

import (
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// FS makes the calls. Hook, if set, is asked before every change; its error is
// returned instead of making it. Safe for concurrent use while Hook is not changed.
type FS struct {
	Hook func(op, name string) error
}

func (h *FS) ask(op, name string) error {
	if h.Hook == nil {
		return nil
	}
	return h.Hook(op, name)
}

// Stat is statx of an entry, not following a symbolic link; name "" means the descriptor itself.
func (h *FS) Stat(dir int, name string) (st unix.Statx_t, err error) {
	flags := unix.AT_SYMLINK_NOFOLLOW
	if name == "" {
		flags |= unix.AT_EMPTY_PATH
	}
	err = retry(func() error {
		return unix.Statx(dir, name, flags, unix.STATX_BASIC_STATS|unix.STATX_BTIME, &st)
	})
	return st, err
}

// Statfs of the filesystem a descriptor is on.
func (h *FS) Statfs(fd int) (st unix.Statfs_t, err error) {
	err = retry(func() error { return unix.Fstatfs(fd, &st) })
	return st, err
}

// Nanos is a statx time since 1970.
func Nanos(t unix.StatxTimestamp) int64 { return t.Sec*1e9 + int64(t.Nsec) }

// timespec of a time; nil leaves it as it is.
func timespec(t *time.Time) unix.Timespec {
	if t == nil {
		return unix.Timespec{Nsec: unix.UTIME_OMIT}
	}
	return unix.NsecToTimespec(t.UnixNano())
}

func retry(call func() error) error {
	for {
		if err := call(); err != unix.EINTR {
			return err
		}
	}
}

// procName is a path to what a descriptor stands for, for the calls that take no descriptor.
func procName(fd int) string { return "/proc/self/fd/" + strconv.Itoa(fd) }

func file(fd int, err error, name string) (*os.File, error) {
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), name), nil
}
