package fs

import (
	"context"
	"syscall"

	"excpfs/store"

	fusefs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// fileNode is a regular file, in whatever form.
type fileNode struct {
	node
	opens
}

// OnForget comes when the kernel has let go.
func (n *fileNode) OnForget() {
	if h := n.take(); h != nil {
		h.Release()
	}
}

// hostFlags are the flags of open(2) that concern the store. The rest is the kernel's: it sends
// offsets for O_APPEND and FSYNC for O_SYNC, and our buffers are not aligned for O_DIRECT.
func hostFlags(flags uint32) int {
	return int(flags) & (syscall.O_ACCMODE | syscall.O_TRUNC)
}

func writable(flags uint32) bool {
	return flags&syscall.O_ACCMODE != syscall.O_RDONLY || flags&syscall.O_TRUNC != 0
}

func (n *fileNode) Open(ctx context.Context, flags uint32) (fusefs.FileHandle, uint32, syscall.Errno) {
	h, a, err := n.open(flags)
	if err == nil && writable(flags) {
		a, err = dropSetID(ctx, h, a)
	}
	var fh fusefs.FileHandle
	var fuseFlags uint32
	errno := n.t.errno(err)
	if errno == 0 {
		fh, fuseFlags, errno = n.admit(h, a, flags)
	}
	if errno != 0 && h != nil {
		h.Release()
	}
	return fh, fuseFlags, errno
}

// open opens by name, or takes what was kept when the name was taken.
func (n *fileNode) open(flags uint32) (h *store.Handle, a store.Attr, err error) {
	err = n.named(func(d *store.Dir, name string) error {
		h, err = store.File{Dir: d, Name: name, Ino: n.StableAttr().Ino}.Open(hostFlags(flags))
		if err != nil {
			h = nil
			return err
		}
		if a, err = h.Attr(); err == nil {
			err = n.same(a)
		}
		if err != nil {
			h.Release()
			h = nil
		}
		return err
	})
	if err != nil && !writable(flags) {
		if k := n.take(); k != nil {
			a, err = k.Attr()
			return k, a, err
		}
	}
	return h, a, err
}

// dropSetID clears set-id bits when somebody unprivileged opens a file for writing. The kernel
// leaves it to us (HANDLE_KILLPRIV_V2) at the first write, but those that are passed through are not seen.
func dropSetID(ctx context.Context, h *store.Handle, a store.Attr) (store.Attr, error) {
	mode := uint32(a.Mode) & 07777
	if caller(ctx).UID == 0 || unprivileged(mode) == mode {
		return a, nil
	}
	mode = unprivileged(mode)
	return h.SetAttr(store.SetAttr{Mode: &mode})
}

// attr is of a handle where there is one: it knows the file also when the tree has no name for it.
func (n *fileNode) attr(f fusefs.FileHandle) (store.Attr, error) {
	if h := n.borrow(f); h != nil {
		defer h.users.Done()
		return h.store.Attr()
	}
	return n.stat()
}

func (n *fileNode) Getattr(ctx context.Context, f fusefs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	if n.writing() {
		out.SetTimeout(unsettled)
	}
	a, err := n.attr(f)
	fillAttr(&out.Attr, a)
	return n.t.errno(err)
}

func (n *fileNode) Statx(ctx context.Context, f fusefs.FileHandle, flags, mask uint32, out *fuse.StatxOut) syscall.Errno {
	a, err := n.attr(f)
	fillStatx(&out.Statx, a)
	return n.t.errno(err)
}

func (n *fileNode) Setattr(ctx context.Context, f fusefs.FileHandle, in *fuse.SetAttrIn, out *fuse.AttrOut) syscall.Errno {
	set := changes(in)
	if in.Valid&fuse.FATTR_KILL_SUIDGID != 0 && set.Mode == nil {
		if a, err := n.attr(f); err == nil && unprivileged(uint32(a.Mode)) != uint32(a.Mode)&07777 {
			mode := unprivileged(uint32(a.Mode))
			set.Mode = &mode
		}
	}
	if n.writing() {
		out.SetTimeout(unsettled)
	}
	a, err := n.setAttr(f, set)
	return n.t.answerSetattr(out, a, err)
}

// setAttr goes by the caller's handle, else by name, else by any handle.
func (n *fileNode) setAttr(f fusefs.FileHandle, set store.SetAttr) (store.Attr, error) {
	h := n.nameless()
	if f != nil {
		h = n.borrow(f)
	}
	if h == nil {
		return n.change(set)
	}
	defer h.users.Done()
	return h.store.SetAttr(set)
}

// nameless is any open handle where the tree has no name for the file, else nil.
func (n *fileNode) nameless() *fileHandle {
	if _, parent := n.Parent(); parent != nil {
		return nil
	}
	return n.borrow(nil)
}

// linkOpen gives a name to a file without one.
func (n *fileNode) linkOpen(to *store.Dir, name string) (store.Entry, error) {
	h := n.borrow(nil)
	if h == nil {
		return store.Entry{}, syscall.ESTALE
	}
	defer h.users.Done()
	return h.store.LinkTo(to, name)
}

// copyAtOnce bounds one request, so that a caller can be interrupted between two.
const copyAtOnce = 1 << 30

func (n *fileNode) CopyFileRange(ctx context.Context, from fusefs.FileHandle, off uint64, out *fusefs.Inode, to fusefs.FileHandle, toOff uint64, size uint64, flags uint64) (uint32, syscall.Errno) {
	src, dst := handleOf(from), handleOf(to)
	if src == nil || dst == nil {
		return 0, syscall.EBADF
	}
	k, err := src.store.CopyTo(context.Background(), int64(off), dst.store, int64(toOff), int64(min(size, copyAtOnce)))
	if k > 0 {
		return uint32(k), 0
	}
	return 0, n.t.errno(err)
}
