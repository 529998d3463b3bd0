package host

import (
	"os"

	"golang.org/x/sys/unix"
)

func (h *FS) Write(f *os.File, p []byte) error {
	if err := h.ask("write", f.Name()); err != nil {
		return err
	}
	_, err := f.Write(p)
	return err
}

func (h *FS) Pwrite(f *os.File, p []byte, off int64) (int, error) {
	if err := h.ask("pwrite", f.Name()); err != nil {
		return 0, err
	}
	done := 0 // File.WriteAt does not tell how much went before an error
	for done < len(p) {
		var n int
		err := retry(func() (err error) {
			n, err = unix.Pwrite(int(f.Fd()), p[done:], off+int64(done))
			return err
		})
		if err != nil {
			return done, err
		}
		done += n
	}
	return done, nil
}

func (h *FS) Truncate(f *os.File, size int64) error {
	if err := h.ask("truncate", f.Name()); err != nil {
		return err
	}
	return retry(func() error { return unix.Ftruncate(int(f.Fd()), size) })
}

func (h *FS) Allocate(f *os.File, mode uint32, off, n int64) error {
	if err := h.ask("fallocate", f.Name()); err != nil {
		return err
	}
	return retry(func() error { return unix.Fallocate(int(f.Fd()), mode, off, n) })
}

func (h *FS) Sync(f *os.File, dataOnly bool) error {
	if err := h.ask("fsync", f.Name()); err != nil {
		return err
	}
	if dataOnly {
		return retry(func() error { return unix.Fdatasync(int(f.Fd())) })
	}
	return retry(func() error { return unix.Fsync(int(f.Fd())) })
}

// CopyRange is copy_file_range; fewer bytes than n, also 0, are no error.
func (h *FS) CopyRange(f *os.File, off int64, to *os.File, toOff, n int64) (int64, error) {
	if err := h.ask("copy", to.Name()); err != nil {
		return 0, err
	}
	got, err := unix.CopyFileRange(int(f.Fd()), &off, int(to.Fd()), &toOff, int(min(n, 1<<30)), 0)
	return int64(max(got, 0)), err
}

// Flush is what close(2) of a duplicate does: some filesystems report write errors only there.
func (h *FS) Flush(f *os.File) error {
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return err
	}
	return unix.Close(fd)
}
