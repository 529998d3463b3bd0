package fs

import (
	"slices"
	"sync"
	"syscall"
	"time"

	"excpfs/store"

	fusefs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// ioMode is how the kernel reads and writes an open file. All handles of a file see
// one content in any mixture, but the kernel refuses cached and passed through
// handles of one inode together (EIO at open).
type ioMode uint8

const (
	cached ioMode = iota // through the page cache of the mount
	direct               // past it, every read and write a request
	passed               // straight on the host file
)

// opens are the open handles of one file. A handle is counted until its RELEASE, which the
// kernel sends after the last mapping is gone and after it has left the mode itself.
type opens struct {
	mu    sync.Mutex
	list  []*fileHandle
	modes [3]int
	write int
	// Handles released a moment ago, and the host inode of the last that was passed through.
	fading [3]int
	host   uint64
	kept   *store.Handle // of a file whose last name was taken, until somebody opens or the kernel forgets it
}

// keep takes over h.
func (o *opens) keep(h *store.Handle) {
	o.mu.Lock()
	h, o.kept = o.kept, h
	o.mu.Unlock()
	if h != nil {
		h.Release()
	}
}

// take gives up what was kept, or nil.
func (o *opens) take() *store.Handle {
	o.mu.Lock()
	defer o.mu.Unlock()
	h := o.kept
	o.kept = nil
	return h
}

// admit decides the mode of a new handle and counts it. ESTALE: h was opened on an archive that others thawed and
// pass through by now; the kernel opens again.
func (n *fileNode) admit(h *store.Handle, a store.Attr, flags uint32) (fusefs.FileHandle, uint32, syscall.Errno) {
	f := &fileHandle{store: h, node: n, write: writable(flags)}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.modes[passed] > 0 && h.Fd() < 0 {
		return nil, 0, syscall.ESTALE
	}
	f.mode = n.modeFor(h, a, flags)
	if f.mode == passed {
		n.host = hostInode(h)
	}
	n.list = append(n.list, f)
	n.modes[f.mode]++
	if f.write {
		n.write++
	}
	fuseFlags := openFlags(f)
	if f.mode == passed {
		return passHandle{f}, fuseFlags, 0
	}
	return f, fuseFlags, 0
}

// modeFor: what is open decides; else the form of the file. Write-only handles that cannot be passed
// through go past the page cache, which is twice as fast and leaves nothing stale while nobody else reads through it.
func (n *fileNode) modeFor(h *store.Handle, a store.Attr, flags uint32) ioMode {
	switch {
	case n.modes[passed] > 0:
		return passed
	case n.modes[cached] > 0 || h.Sealed():
		return cached
	case n.t.passthrough && !n.quiet(h):
		return cached
	case n.t.passthrough && n.t.backing.possible(h, a):
		return passed
	case flags&syscall.O_ACCMODE == syscall.O_WRONLY:
		return direct
	}
	return cached
}

// quiet tells whether go-fuse is done with the handles of before, or will do h no harm.
func (o *opens) quiet(h *store.Handle) bool {
	return o.fading[cached] == 0 && o.fading[direct] == 0 && (o.fading[passed] == 0 || hostInode(h) == o.host)
}

// hostInode is 0 where there is none. A number cannot be used again while go-fuse has the file registered.
func hostInode(h *store.Handle) uint64 {
	var st unix.Stat_t
	if fd := h.Fd(); fd < 0 || unix.Fstat(fd, &st) != nil {
		return 0
	}
	return st.Ino
}

// openFlags of an answer. A sealed file's pages stay valid from open to open; those of a plain
// file are dropped, it may have been written past the cache. Closing what only reads needs no FLUSH.
func openFlags(f *fileHandle) uint32 {
	var flags uint32
	switch {
	case f.mode == direct:
		flags |= fuse.FOPEN_DIRECT_IO
	case f.mode == cached && f.store.Sealed() && f.store.KeepCache():
		flags |= fuse.FOPEN_KEEP_CACHE
	}
	if !f.write {
		flags |= fuse.FOPEN_NOFLUSH
	}
	return flags
}

func (o *opens) leave(f *fileHandle) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.list = slices.DeleteFunc(o.list, func(g *fileHandle) bool { return g == f })
	if f.write {
		o.write--
	}
	o.modes[f.mode]--
	o.fading[f.mode]++
	time.AfterFunc(linger, func() {
		o.mu.Lock()
		defer o.mu.Unlock()
		o.fading[f.mode]--
	})
}

// linger is how long a handle is remembered after its RELEASE. Just after our part of that, go-fuse takes a reference off
// the inode's backing file, whichever mode the handle was in. A handle that is passed through in
// between would lose its backing file (EIO at open) or, if the file was sealed and thawed
// again, get the one of before.
const linger = 100 * time.Millisecond

// borrow is f, or any open handle, or nil; Release waits until users.Done.
func (o *opens) borrow(f fusefs.FileHandle) *fileHandle {
	o.mu.Lock()
	defer o.mu.Unlock()
	h := handleOf(f)
	if h == nil && len(o.list) > 0 {
		h = o.list[0]
	}
	if h != nil {
		h.users.Add(1)
	}
	return h
}

// writing reports whether the file changes without our seeing it.
func (o *opens) writing() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.write > 0
}

// backing knows on which host filesystems files can be passed through. go-fuse gives up for the
// whole mount when the kernel refuses one file, so each filesystem is tried here first.
type backing struct {
	server registrar

	mu    sync.Mutex
	known map[uint64]bool // by device
}

// registrar is the part of fuse.Server that registers host files.
type registrar interface {
	RegisterBackingFd(*fuse.BackingMap) (int32, syscall.Errno)
	UnregisterBackingFd(id int32) syscall.Errno
}

func (b *backing) possible(h *store.Handle, a store.Attr) bool {
	fd := h.Fd()
	if b.server == nil || fd < 0 {
		return false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	dev := unix.Mkdev(a.Dev_major, a.Dev_minor)
	ok, tried := b.known[dev]
	if !tried {
		ok = b.try(fd)
		b.known[dev] = ok
	}
	return ok
}

func (b *backing) try(fd int) bool {
	id, errno := b.server.RegisterBackingFd(&fuse.BackingMap{Fd: int32(fd)})
	if errno != 0 {
		return false
	}
	b.server.UnregisterBackingFd(id)
	return true
}
