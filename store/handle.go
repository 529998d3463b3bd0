package store

import (
	"context"
	"errors"
	"io"
	"os"
	"sync/atomic"

	"excpfs/decode"

	"golang.org/x/sys/unix"
)

// Handle is an open file. After a thaw by somebody else, handles opened on the archive
// read the plain file: all handles of a file see one content.
type Handle struct {
	s     *Store
	n     *node
	f     *os.File // nil: opened as an archive
	write bool
	drops atomic.Bool // told the kernel to drop its pages, and was not read from since
}

// handle takes over one reference to n, and f.
func (s *Store) handle(n *node, f *os.File, write bool) *Handle {
	if write {
		s.mu.Lock()
		n.writers++
		s.mu.Unlock()
		s.wake()
	}
	return &Handle{s: s, n: n, f: f, write: write}
}

// file is the plain file, or nil while sealed.
func (h *Handle) file() *os.File {
	if h.f != nil {
		return h.f
	}
	_, f := h.n.current()
	return f
}

// host is the host file behind it at the moment, in whatever form.
func (h *Handle) host() *os.File {
	if f := h.file(); f != nil {
		return f
	}
	return h.n.arch
}

// Sealed reports the form at the moment.
func (h *Handle) Sealed() bool { return h.file() == nil }

// Fd is the host descriptor of a file opened plain (for passthrough), else -1.
func (h *Handle) Fd() int {
	if h.f == nil {
		return -1
	}
	return int(h.f.Fd())
}

// KeepCache is false while the kernel may have pages from before a swap: until one who was told so reads,
// since the kernel drops them before it asks for others. Until then others may be told first.
func (h *Handle) KeepCache() bool {
	h.s.mu.Lock()
	defer h.s.mu.Unlock()
	_, stale := h.s.stale[h.n.ino]
	h.drops.Store(stale)
	return !stale
}

// dropped notes that pages from before a swap are gone.
func (h *Handle) dropped() {
	if h.drops.Load() && h.drops.CompareAndSwap(true, false) {
		h.s.mu.Lock()
		delete(h.s.stale, h.n.ino)
		h.s.mu.Unlock()
	}
}

// Attr of the file, also of one that has no name any more.
func (h *Handle) Attr() (Attr, error) {
	if h.f == nil {
		return h.n.stat()
	}
	st, err := h.s.host.Stat(int(h.f.Fd()), "")
	if err != nil {
		return Attr{}, err
	}
	return h.s.attr(st, nil), nil
}

// ReadSlices returns up to n bytes at off: of a sealed file without copying; fewer only at the end of the file.
func (h *Handle) ReadSlices(ctx context.Context, off int64, n int) (decode.Slices, error) {
	h.dropped()
	if h.f == nil {
		if dec, _ := h.n.current(); dec != nil {
			return dec.ReadSlices(ctx, off, n)
		}
	}
	b := make([]byte, n)
	got, err := h.ReadAt(b, off)
	if err != nil && err != io.EOF {
		return decode.Slices{}, err
	}
	return decode.Slices{Bufs: [][]byte{b[:got]}, Release: func() {}}, nil
}

// ReadAt is io.ReaderAt.
func (h *Handle) ReadAt(p []byte, off int64) (int, error) {
	h.dropped()
	if h.f != nil {
		return h.f.ReadAt(p, off)
	}
	dec, f := h.n.current()
	if f != nil {
		return f.ReadAt(p, off)
	}
	return dec.ReadAt(p, off)
}

// WriteAt is io.WriterAt, for a handle opened for writing.
func (h *Handle) WriteAt(p []byte, off int64) (int, error) {
	if h.f == nil {
		return 0, unix.EBADF
	}
	return h.s.host.Pwrite(h.f, p, off)
}

// Allocate is fallocate(2).
func (h *Handle) Allocate(mode uint32, off, n int64) error {
	if h.f == nil {
		return unix.EBADF
	}
	return h.s.host.Allocate(h.f, mode, off, n)
}

// Seek finds data or a hole (SEEK_DATA, SEEK_HOLE). A sealed file has no holes.
func (h *Handle) Seek(off int64, whence int) (int64, error) {
	if f := h.file(); f != nil {
		return unix.Seek(int(f.Fd()), off, whence)
	}
	at, err := h.Attr()
	size := int64(at.Size)
	switch {
	case err != nil:
		return 0, err
	case off < 0 || off >= size:
		return 0, unix.ENXIO
	case whence == unix.SEEK_DATA:
		return off, nil
	case whence == unix.SEEK_HOLE:
		return size, nil
	}
	return 0, unix.EINVAL
}

const copyPiece = 1 << 20

// CopyTo is copy_file_range: up to n bytes, 0 at the end of the file.
func (h *Handle) CopyTo(ctx context.Context, off int64, to *Handle, toOff, n int64) (int64, error) {
	if to.f == nil {
		return 0, unix.EBADF
	}
	f := h.file()
	if f != nil {
		got, err := h.s.host.CopyRange(f, off, to.f, toOff, n)
		if !errors.Is(err, unix.EXDEV) && !errors.Is(err, unix.EOPNOTSUPP) {
			return got, err
		}
	}
	var total int64
	b := make([]byte, min(n, copyPiece))
	for total < n && ctx.Err() == nil {
		got, err := h.ReadAt(b[:min(n-total, copyPiece)], off+total)
		if got > 0 {
			put, err := to.WriteAt(b[:got], toOff+total)
			total += int64(put)
			if err != nil {
				return total, err
			}
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			return total, err
		}
	}
	return total, nil
}

// Flush reports what the host only tells on close.
func (h *Handle) Flush() error {
	if h.f == nil || !h.write {
		return nil
	}
	return h.s.host.Flush(h.f)
}

// Fsync makes content and queue durable.
func (h *Handle) Fsync(dataOnly bool) error {
	f := h.file()
	if f == nil || h.s.readOnly {
		return nil
	}
	if err := h.s.host.Sync(f, dataOnly); err != nil {
		return err
	}
	return h.s.syncQueue()
}

// Release ends the handle; when the last of a written file goes, the file begins to settle.
func (h *Handle) Release() {
	if h.write {
		st, err := h.s.host.Stat(int(h.f.Fd()), "")
		h.s.mu.Lock()
		h.n.writers--
		last := h.n.writers == 0
		h.s.mu.Unlock()
		if last && err == nil {
			h.s.settle(&st)
		}
	}
	h.n.release()
	if h.f != nil { // last: it keeps the inode, by which the node is known, from being used again
		h.f.Close()
	}
}

// LinkTo gives a file made by Tmpfile a name.
func (h *Handle) LinkTo(to *Dir, name string) (Entry, error) {
	s := h.s
	if h.f == nil {
		return Entry{}, unix.EINVAL
	}
	if err := to.vacant(name); err != nil {
		return Entry{}, err
	}
	s.share()
	defer s.ns.RUnlock()
	hostName, err := to.free(name)
	if err != nil {
		return Entry{}, err
	}
	if err := s.host.LinkFile(h.f, to.fd(), hostName); err != nil {
		return Entry{}, err
	}
	st, err := s.host.Stat(to.fd(), hostName)
	if err != nil {
		return Entry{}, err
	}
	s.moved(h.n.ino, to, name)
	s.enqueue(&st, to, name, true)
	return to.entry(found{host: hostName, st: st}, name)
}
