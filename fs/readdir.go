package fs

import (
	"context"
	"sync"
	"syscall"

	"excpfs/store"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// dirHandle is an open folder: what it held when reading began, so that offsets
// stay what they are while entries come and go. Offset i+1 follows entry i.
type dirHandle struct {
	n *dirNode

	mu   sync.Mutex
	list []store.DirEntry
	next int
}

// load lists the folder with its two dots.
func (h *dirHandle) load() error {
	list, err := h.n.dir.ReadDir()
	if err != nil {
		return err
	}
	self := h.n.StableAttr().Ino
	up := self
	if _, p := h.n.Parent(); p != nil {
		up = p.StableAttr().Ino
	}
	h.list = append([]store.DirEntry{{Name: ".", Mode: syscall.S_IFDIR, Ino: self}, {Name: "..", Mode: syscall.S_IFDIR, Ino: up}}, list...)
	return nil
}

func (h *dirHandle) Readdirent(ctx context.Context) (*fuse.DirEntry, syscall.Errno) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.list == nil {
		if err := h.load(); err != nil {
			return nil, h.n.t.errno(err)
		}
	}
	if h.next >= len(h.list) {
		return nil, 0
	}
	e := h.list[h.next]
	h.next++
	return &fuse.DirEntry{Name: e.Name, Mode: e.Mode, Ino: e.Ino, Off: uint64(h.next)}, 0
}

// Seekdir to the start lists anew.
func (h *dirHandle) Seekdir(ctx context.Context, off uint64) syscall.Errno {
	h.mu.Lock()
	defer h.mu.Unlock()
	if off == 0 {
		h.list, h.next = nil, 0
		return 0
	}
	if off > uint64(len(h.list)) {
		return syscall.EINVAL
	}
	h.next = int(off)
	return 0
}

func (h *dirHandle) Fsyncdir(ctx context.Context, flags uint32) syscall.Errno {
	return h.n.t.errno(h.n.dir.Fsync())
}

func (h *dirHandle) Releasedir(ctx context.Context, flags uint32) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.list = nil
}
