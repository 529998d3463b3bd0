package fs

import (
	"context"
	"errors"
	"log/slog"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"excpfs/store"

	fusefs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// tree is what all nodes of a mount share.
type tree struct {
	store *store.Store
	log   *slog.Logger

	backing     backing // who can be passed through
	passthrough bool    // ask at all

	said sync.Map // messages logged already, by text
}

// node is what files, folders and the rest have in common.
type node struct {
	fusefs.Inode
	t *tree
}

type dirNode struct {
	node
	dir *store.Dir
}

// otherNode is a symlink, a device, a fifo or a socket.
type otherNode struct {
	node
	kept atomic.Pointer[string] // what a symlink said when its name was taken
}

// newDirNode takes over one reference to d. It is given up when the node is collected, not
// when the kernel forgets it: a lookup in another thread may just have found the node again.
func (t *tree) newDirNode(d *store.Dir) *dirNode {
	n := &dirNode{node{t: t}, d}
	runtime.AddCleanup(n, (*store.Dir).Release, d)
	return n
}

// child makes the node of an entry; go-fuse keeps an older one of the same number.
func (n *dirNode) child(ctx context.Context, e store.Entry) *fusefs.Inode {
	switch uint32(e.Attr.Mode) & syscall.S_IFMT {
	case syscall.S_IFDIR:
		return n.NewInode(ctx, n.t.newDirNode(e.Dir), stable(e.Attr))
	case syscall.S_IFREG:
		return n.NewInode(ctx, &fileNode{node: node{t: n.t}}, stable(e.Attr))
	}
	return n.NewInode(ctx, &otherNode{node: node{t: n.t}}, stable(e.Attr))
}

// target is how the store addresses a node: its folder and name, "" for a folder itself.
func (n *node) target() (*dirNode, string, error) {
	if d, ok := n.Operations().(*dirNode); ok {
		return d, "", nil
	}
	name, parent := n.Parent()
	if parent == nil {
		return nil, "", syscall.ESTALE
	}
	return parent.Operations().(*dirNode), name, nil
}

// at runs f on the target.
func (n *node) at(f func(d *store.Dir, name string) error) error {
	p, name, err := n.target()
	if err != nil {
		return err
	}
	defer runtime.KeepAlive(p) // its descriptor goes with it
	return f(p.dir, name)
}

// exact runs f on the target, which the store checks, until it finds the node there.
func (n *node) exact(f func(store.File) error) (err error) {
	for try := range renameTries {
		time.Sleep(time.Duration(try) * time.Millisecond)
		err = n.at(func(d *store.Dir, name string) error {
			file := store.File{Dir: d, Name: name}
			if name != "" {
				file.Ino = n.StableAttr().Ino
			}
			return f(file)
		})
		if !errors.Is(err, syscall.ESTALE) && !errors.Is(err, syscall.ENOENT) {
			return err
		}
	}
	return syscall.ESTALE
}

// renameTries bounds how often a name is asked for again: a rename changes the
// host before the tree, and until then a name may be gone or lead elsewhere.
const renameTries = 5

// named runs f on the target until it finds the node there.
func (n *node) named(f func(d *store.Dir, name string) error) (err error) {
	for try := range renameTries {
		time.Sleep(time.Duration(try) * time.Millisecond)
		elsewhere := false
		err = n.at(func(d *store.Dir, name string) error {
			err := f(d, name)
			if err != nil {
				_, e := n.lookup(d, name)
				elsewhere = e != nil // else the file is at fault, not its name
			}
			return err
		})
		if !elsewhere {
			return err
		}
	}
	return syscall.ESTALE
}

// lookup is what the store has at a name; ESTALE if that is another.
func (n *node) lookup(d *store.Dir, name string) (store.Attr, error) {
	e, err := d.Lookup(name)
	if err != nil {
		return store.Attr{}, err
	}
	if e.Dir != nil { // a folder took the place
		e.Dir.Release()
	}
	return e.Attr, n.same(e.Attr)
}

func (n *node) same(a store.Attr) error {
	if stable(a).Ino != n.StableAttr().Ino {
		return syscall.ESTALE
	}
	return nil
}

// stat asks the store.
func (n *node) stat() (a store.Attr, err error) {
	if d, ok := n.Operations().(*dirNode); ok {
		return d.dir.Attr()
	}
	err = n.named(func(d *store.Dir, name string) error {
		a, err = n.lookup(d, name)
		return err
	})
	return a, err
}

func (n *node) Getattr(ctx context.Context, f fusefs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	a, err := n.stat()
	fillAttr(&out.Attr, a)
	return n.t.errno(err)
}

func (n *node) Statx(ctx context.Context, f fusefs.FileHandle, flags, mask uint32, out *fuse.StatxOut) syscall.Errno {
	a, err := n.stat()
	fillStatx(&out.Statx, a)
	return n.t.errno(err)
}

func (n *node) Setattr(ctx context.Context, f fusefs.FileHandle, in *fuse.SetAttrIn, out *fuse.AttrOut) syscall.Errno {
	a, err := n.change(changes(in))
	return n.t.answerSetattr(out, a, err)
}

func (n *node) change(set store.SetAttr) (a store.Attr, err error) {
	err = n.exact(func(f store.File) error {
		a, err = f.SetAttr(set)
		return err
	})
	return a, err
}

func (n *node) Statfs(ctx context.Context, out *fuse.StatfsOut) syscall.Errno {
	st, err := n.t.store.Statfs()
	fillStatfs(out, st)
	return n.t.errno(err)
}

// xattrs is what they are set on: an entry or an open file.
type xattrs interface {
	Getxattr(attr string) ([]byte, error)
	Listxattr() ([]string, error)
	Setxattr(attr string, v []byte, flags int) error
	Removexattr(attr string) error
}

// xattrs runs f on the entry, or on what has it open where it has no name.
func (n *node) xattrs(f func(xattrs) error) error {
	if o, ok := n.Operations().(*fileNode); ok {
		if h := o.nameless(); h != nil {
			defer h.users.Done()
			return f(h.store)
		}
	}
	return n.exact(func(e store.File) error { return f(e) })
}

func (n *node) Getxattr(ctx context.Context, attr string, dest []byte) (uint32, syscall.Errno) {
	var v []byte
	err := n.xattrs(func(x xattrs) (err error) {
		v, err = x.Getxattr(attr)
		return err
	})
	if errors.Is(err, syscall.EOPNOTSUPP) && isACL(attr) {
		err = syscall.ENODATA
	}
	if err != nil {
		return 0, n.t.errno(err)
	}
	return fit(dest, v)
}

// isACL: the kernel asks for these when it checks permissions, and knows no answer but "none".
func isACL(attr string) bool {
	return attr == "system.posix_acl_access" || attr == "system.posix_acl_default"
}

func (n *node) Listxattr(ctx context.Context, dest []byte) (uint32, syscall.Errno) {
	var names []string
	err := n.xattrs(func(x xattrs) (err error) {
		names, err = x.Listxattr()
		return err
	})
	if err != nil {
		return 0, n.t.errno(err)
	}
	var list []byte
	for _, s := range names {
		list = append(append(list, s...), 0)
	}
	return fit(dest, list)
}

func (n *node) Setxattr(ctx context.Context, attr string, data []byte, flags uint32) syscall.Errno {
	return n.t.errno(n.xattrs(func(x xattrs) error { return x.Setxattr(attr, data, int(flags)) }))
}

func (n *node) Removexattr(ctx context.Context, attr string) syscall.Errno {
	return n.t.errno(n.xattrs(func(x xattrs) error { return x.Removexattr(attr) }))
}

// fit copies an answer of any length; a dest too small (or empty: a question for the length) gets ERANGE.
func fit(dest, v []byte) (uint32, syscall.Errno) {
	if len(v) > len(dest) {
		return uint32(len(v)), syscall.ERANGE
	}
	return uint32(copy(dest, v)), 0
}

func (n *otherNode) Readlink(ctx context.Context) ([]byte, syscall.Errno) {
	var text string
	err := n.named(func(d *store.Dir, name string) error {
		var err error
		if text, err = d.Readlink(name); err == nil {
			_, err = n.lookup(d, name)
		}
		return err
	})
	if kept := n.kept.Load(); err != nil && kept != nil {
		return []byte(*kept), 0
	}
	return []byte(text), n.t.errno(err)
}

// caller is who asked.
func caller(ctx context.Context) store.Caller {
	if c, ok := fuse.FromContext(ctx); ok {
		return store.Caller{UID: c.Uid, GID: c.Gid}
	}
	return store.Caller{UID: uint32(unix.Geteuid()), GID: uint32(unix.Getegid())}
}
