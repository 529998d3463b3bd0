package fs

import (
	"context"
	"sync"
	"syscall"

	"excpfs/store"

	fusefs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// dirHandle is an open folder: what it held when reading began, so that offsets
// stay what they are while entries come and go. Offset i+1 follows entry i.
type dirHandle struct {
	n *dirNode

	mu   sync.Mutex
	list []store.DirEntry
	next int
	last *found // what Readdirent had to look up, for the Lookup that follows
}

type found struct {
	name  string
	entry store.Entry
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
	return &fuse.DirEntry{Name: e.Name, Mode: e.Mode, Ino: h.number(e), Off: uint64(h.next)}, 0
}

// unknownIno is what libfuse says of a number it does not know: readers skip 0.
const unknownIno = 0xffffffff

// number is the inode number of an entry. An archive tells it only when opened; what was learned is kept for Lookup.
func (h *dirHandle) number(e store.DirEntry) uint64 {
	if e.Ino != 0 {
		return e.Ino
	}
	h.drop()
	f, err := h.n.dir.Lookup(e.Name)
	if err != nil {
		return unknownIno
	}
	h.last = &found{e.Name, f}
	return stable(f.Attr).Ino
}

// drop gives up what nobody asked for.
func (h *dirHandle) drop() {
	if h.last != nil && h.last.entry.Dir != nil {
		h.last.entry.Dir.Release()
	}
	h.last = nil
}

// Lookup answers the second half of READDIRPLUS.
func (h *dirHandle) Lookup(ctx context.Context, name string, out *fuse.EntryOut) (*fusefs.Inode, syscall.Errno) {
	h.mu.Lock()
	last := h.last
	if last != nil && last.name == name {
		h.last = nil
		h.mu.Unlock()
		return h.n.entry(ctx, last.entry, nil, out)
	}
	h.mu.Unlock()
	return h.n.Lookup(ctx, name, out)
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
	h.drop()
	h.list = nil
}
