package seal

import (
	"runtime"

	"golang.org/x/sys/unix"
)

// Arguments of ioprio_set(2).
const (
	ioprioWhoProcess = 1       // a thread, as with setpriority(2) on Linux
	ioprioIdle       = 3 << 13 // class idle
)

// lowerPriority moves the calling goroutine to a thread of its own, of nice 19 and
// idle I/O priority. The goroutine keeps the thread, which ends with it: raising the
// priority again needs a privilege. Where a call fails the work is done all the same.
func lowerPriority() {
	runtime.LockOSThread()
	unix.Setpriority(unix.PRIO_PROCESS, 0, 19)
	unix.Syscall(unix.SYS_IOPRIO_SET, ioprioWhoProcess, 0, ioprioIdle)
}

// worker is what every goroutine that works for a seal calls first.
func (l *Sealer) worker() func() {
	if l.o.Idle {
		return lowerPriority
	}
	return func() {}
}

// aside runs fn, beside a mount at low priority. fn must not hold a lock of the store.
func (l *Sealer) aside(fn func() error) error {
	if !l.o.Idle {
		return fn()
	}
	done := make(chan error, 1)
	go func() {
		lowerPriority()
		done <- fn()
	}()
	return <-done
}
