package fs

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"syscall"

	"excpfs/archive"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// errno is what the kernel is told about an error. It is the only place that logs
// one: the application sees no more than EIO, so the cause is told here, once.
func (t *tree) errno(err error) syscall.Errno {
	if err == nil {
		return 0
	}
	var e syscall.Errno
	if !ofArchive(err) && errors.As(err, &e) && e != syscall.EIO {
		if e == syscall.ENOSYS { // the kernel would never ask again
			return syscall.EOPNOTSUPP
		}
		return e
	}
	if !ofArchive(err) && errors.Is(err, context.Canceled) {
		return syscall.EINTR
	}
	t.once(err.Error())
	return syscall.EIO
}

// ofArchive reports whether an archive is at fault: damaged, incomplete, or of a later release.
func ofArchive(err error) bool {
	var (
		version     *archive.VersionError
		missing     *archive.MissingError
		damage      *archive.DamageError
		unsupported *archive.UnsupportedError
	)
	return errors.Is(err, archive.ErrNotArchive) || errors.As(err, &version) || errors.As(err, &missing) ||
		errors.As(err, &damage) || errors.As(err, &unsupported)
}

// once logs a message if it was not logged before.
func (t *tree) once(msg string) {
	if _, again := t.said.LoadOrStore(msg, true); !again {
		t.log.Error("input/output error", "cause", msg)
	}
}

// panicked answers for a handler that did not.
func (t *tree) panicked(v any) fuse.Status {
	t.log.Error("panic while serving a request", "cause", fmt.Sprint(v), "stack", string(debug.Stack()))
	return fuse.EIO
}
