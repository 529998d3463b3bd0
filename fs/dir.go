package fs

import (
	"context"
	"syscall"

	"excpfs/store"

	fusefs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// entry ends every method that answers with a node.
func (n *dirNode) entry(ctx context.Context, e store.Entry, err error, out *fuse.EntryOut) (*fusefs.Inode, syscall.Errno) {
	if err != nil {
		return nil, n.t.errno(err)
	}
	fillAttr(&out.Attr, e.Attr)
	return n.child(ctx, e), 0
}

func (n *dirNode) Lookup(ctx context.Context, name string, out *fuse.EntryOut) (*fusefs.Inode, syscall.Errno) {
	e, err := n.dir.Lookup(name)
	if f, ok := n.known(name).(*fileNode); ok && f.writing() {
		out.SetAttrTimeout(unsettled)
	}
	return n.entry(ctx, e, err, out)
}

// known is the node that the tree has at a name, or nil.
func (n *dirNode) known(name string) fusefs.InodeEmbedder {
	if c := n.GetChild(name); c != nil {
		return c.Operations()
	}
	return nil
}

func (n *dirNode) Mkdir(ctx context.Context, name string, mode uint32, out *fuse.EntryOut) (*fusefs.Inode, syscall.Errno) {
	e, err := n.dir.Mkdir(name, mode&07777, caller(ctx))
	return n.entry(ctx, e, err, out)
}

func (n *dirNode) Mknod(ctx context.Context, name string, mode, dev uint32, out *fuse.EntryOut) (*fusefs.Inode, syscall.Errno) {
	e, err := n.dir.Mknod(name, mode, uint64(dev), caller(ctx))
	return n.entry(ctx, e, err, out)
}

func (n *dirNode) Symlink(ctx context.Context, target, name string, out *fuse.EntryOut) (*fusefs.Inode, syscall.Errno) {
	e, err := n.dir.Symlink(name, target, caller(ctx))
	return n.entry(ctx, e, err, out)
}

// Link gives a file another name; one that has none is found by what has it open (O_TMPFILE).
func (n *dirNode) Link(ctx context.Context, target fusefs.InodeEmbedder, name string, out *fuse.EntryOut) (*fusefs.Inode, syscall.Errno) {
	e, err := n.link(target, name)
	if err != nil {
		return nil, n.t.errno(err)
	}
	fillAttr(&out.Attr, e.Attr)
	return target.EmbeddedInode(), 0
}

func (n *dirNode) link(target fusefs.InodeEmbedder, name string) (e store.Entry, err error) {
	o, ok := target.(interface {
		at(func(d *store.Dir, name string) error) error
	})
	if !ok {
		return e, syscall.EXDEV
	}
	if f, ok := target.(*fileNode); ok {
		if _, parent := f.Parent(); parent == nil {
			return f.linkOpen(n.dir, name)
		}
	}
	err = o.at(func(d *store.Dir, old string) error {
		e, err = d.Link(old, n.dir, name)
		return err
	})
	return e, err
}

func (n *dirNode) Unlink(ctx context.Context, name string) syscall.Errno {
	return n.t.errno(n.dir.Unlink(name))
}

func (n *dirNode) Rmdir(ctx context.Context, name string) syscall.Errno {
	return n.t.errno(n.dir.Rmdir(name))
}

func (n *dirNode) Rename(ctx context.Context, name string, parent fusefs.InodeEmbedder, newName string, flags uint32) syscall.Errno {
	to, ok := parent.(*dirNode)
	if !ok {
		return syscall.EXDEV
	}
	if flags&^(unix.RENAME_NOREPLACE|unix.RENAME_EXCHANGE) != 0 {
		return syscall.EINVAL
	}
	dropped := func() {}
	if flags == 0 {
		dropped = to.hold(newName)
	}
	err := n.dir.Rename(name, to.dir, newName, flags)
	if err != nil {
		dropped()
	}
	return n.t.errno(err)
}

// hold keeps what a rename is about to replace for those who have found the name and not yet
// opened it: the kernel lets them ask once more when they come too late, but not twice. The
// rename that fails calls what is returned. Archives are left out, opening one takes long.
func (n *dirNode) hold(name string) func() {
	switch c := n.known(name).(type) {
	case *otherNode:
		if s, err := n.dir.Readlink(name); err == nil {
			c.kept.Store(&s)
		}
	case *fileNode:
		e, err := n.dir.Lookup(name)
		if e.Dir != nil {
			e.Dir.Release()
		}
		if err != nil || e.Form != store.Plain || e.Attr.Nlink != 1 || c.same(e.Attr) != nil {
			break
		}
		if h, err := n.dir.Open(name, syscall.O_RDONLY); err == nil {
			c.keep(h)
			return c.OnForget
		}
	}
	return func() {}
}

func (n *dirNode) Create(ctx context.Context, name string, flags, mode uint32, out *fuse.EntryOut) (*fusefs.Inode, fusefs.FileHandle, uint32, syscall.Errno) {
	e, h, err := n.dir.Create(name, hostFlags(flags)|int(flags)&(syscall.O_CREAT|syscall.O_EXCL), mode&07777, caller(ctx))
	if err != nil {
		return nil, nil, 0, n.t.errno(err)
	}
	return n.opened(ctx, e.Attr, h, flags, out)
}

func (n *dirNode) Tmpfile(ctx context.Context, flags, mode uint32, out *fuse.EntryOut) (*fusefs.Inode, fusefs.FileHandle, uint32, syscall.Errno) {
	a, h, err := n.dir.Tmpfile(hostFlags(flags)|int(flags)&syscall.O_EXCL, mode&07777, caller(ctx))
	if err != nil {
		return nil, nil, 0, n.t.errno(err)
	}
	return n.opened(ctx, a, h, flags, out)
}

// opened makes the node of a file just created. go-fuse always takes this one, so the handle may know it.
func (n *dirNode) opened(ctx context.Context, a store.Attr, h *store.Handle, flags uint32, out *fuse.EntryOut) (*fusefs.Inode, fusefs.FileHandle, uint32, syscall.Errno) {
	f := &fileNode{node: node{t: n.t}}
	fillAttr(&out.Attr, a)
	ino := n.NewInode(ctx, f, stable(a))
	fh, fuseFlags, errno := f.admit(h, a, flags)
	out.SetAttrTimeout(unsettled)
	return ino, fh, fuseFlags, errno
}

func (n *dirNode) OpendirHandle(ctx context.Context, flags uint32) (fusefs.FileHandle, uint32, syscall.Errno) {
	return &dirHandle{n: n}, 0, 0
}
