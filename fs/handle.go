package fs

import (
	"context"
	"errors"
	"io"
	"sync"
	"syscall"

	"excpfs/decode"
	"excpfs/store"

	fusefs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// fileHandle is an open file. Interrupts are not honoured: any signal to the caller raises
// one (the Go runtime sends itself many), and a read that fails for it breaks the caller.
type fileHandle struct {
	store *store.Handle
	node  *fileNode
	mode  ioMode
	write bool
	users sync.WaitGroup // who borrowed it
}

// passHandle is a handle that go-fuse passes through. Only this type has PassthroughFd:
// of any handle that has it, go-fuse passes through once one of the inode was.
type passHandle struct{ *fileHandle }

func (h passHandle) PassthroughFd() (int, bool) {
	fd := h.store.Fd()
	return fd, fd >= 0
}

func (h *fileHandle) self() *fileHandle { return h }

// handleOf is the handle that go-fuse holds, or nil.
func handleOf(f fusefs.FileHandle) *fileHandle {
	if h, ok := f.(interface{ self() *fileHandle }); ok {
		return h.self()
	}
	return nil
}

func (h *fileHandle) Read(ctx context.Context, dest []byte, off int64) (fuse.ReadResult, syscall.Errno) {
	if h.store.Sealed() {
		s, err := h.store.ReadSlices(context.Background(), off, len(dest))
		if err != nil {
			return nil, h.node.t.errno(err)
		}
		return &readResult{decoded: s}, 0
	}
	k, err := h.store.ReadAt(dest, off)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	if err != nil {
		return nil, h.node.t.errno(err)
	}
	return fuse.ReadResultData(dest[:k]), 0
}

// readResult hands the pinned chunks of a decoded file to the kernel, by one writev and without a copy.
type readResult struct{ decoded decode.Slices }

func (r *readResult) Slices() ([][]byte, fuse.Status) { return r.decoded.Bufs, fuse.OK }

func (r *readResult) Bytes(buf []byte) ([]byte, fuse.Status) {
	buf = buf[:0]
	for _, b := range r.decoded.Bufs {
		buf = append(buf, b...)
	}
	return buf, fuse.OK
}

func (r *readResult) Size() int {
	n := 0
	for _, b := range r.decoded.Bufs {
		n += len(b)
	}
	return n
}

func (r *readResult) Done() { r.decoded.Release() }

func (h *fileHandle) Write(ctx context.Context, data []byte, off int64) (uint32, syscall.Errno) {
	k, err := h.store.WriteAt(data, off)
	if k > 0 { // what was written is written; the next write meets the error
		return uint32(k), 0
	}
	return 0, h.node.t.errno(err)
}

func (h *fileHandle) Flush(ctx context.Context) syscall.Errno {
	return h.node.t.errno(h.store.Flush())
}

// fdatasync is the flag of FSYNC that leaves attributes out.
const fdatasync = 1

func (h *fileHandle) Fsync(ctx context.Context, flags uint32) syscall.Errno {
	return h.node.t.errno(h.store.Fsync(flags&fdatasync != 0))
}

func (h *fileHandle) Allocate(ctx context.Context, off, size uint64, mode uint32) syscall.Errno {
	return h.node.t.errno(h.store.Allocate(mode, int64(off), int64(size)))
}

func (h *fileHandle) Lseek(ctx context.Context, off uint64, whence uint32) (uint64, syscall.Errno) {
	k, err := h.store.Seek(int64(off), int(whence))
	return uint64(k), h.node.t.errno(err)
}

func (h *fileHandle) Release(ctx context.Context) syscall.Errno {
	h.node.leave(h)
	h.users.Wait()
	h.store.Release()
	return 0
}
