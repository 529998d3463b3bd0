package fs

import (
	"syscall"
	"time"

	"excpfs/store"

	fusefs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// How long the kernel may answer from what it was told. The store may be changed behind
// the mount, by pack or by hand, so never long; a name that is not there appears soon.
const (
	validity         = time.Second
	negativeValidity = 100 * time.Millisecond
	unsettled        = time.Nanosecond // of a file that is open for writing: 0 would mean the default
)

// blockSize is st_blksize of files: cp and others take it as the size of their buffer.
const blockSize = 1 << 20

// stable is what go-fuse knows a node by. The store's numbers are its own, never the
// host's, and not used twice.
func stable(a store.Attr) fusefs.StableAttr {
	return fusefs.StableAttr{Mode: uint32(a.Mode) & syscall.S_IFMT, Ino: a.Ino}
}

func fillAttr(out *fuse.Attr, a store.Attr) {
	*out = fuse.Attr{
		Ino: a.Ino, Size: a.Size, Blocks: a.Blocks, Blksize: blksize(a),
		Mode: uint32(a.Mode), Nlink: a.Nlink, Owner: fuse.Owner{Uid: a.Uid, Gid: a.Gid},
		Atime: uint64(a.Atime.Sec), Atimensec: a.Atime.Nsec,
		Mtime: uint64(a.Mtime.Sec), Mtimensec: a.Mtime.Nsec,
		Ctime: uint64(a.Ctime.Sec), Ctimensec: a.Ctime.Nsec,
		Rdev: uint32(unix.Mkdev(a.Rdev_major, a.Rdev_minor)),
	}
}

func fillStatx(out *fuse.Statx, a store.Attr) {
	out.FromStatx(&a.Statx_t)
	out.Ino, out.Blksize = a.Ino, blksize(a)
}

func blksize(a store.Attr) uint32 {
	if uint32(a.Mode)&syscall.S_IFMT == syscall.S_IFREG {
		return blockSize
	}
	return max(a.Blksize, 512) // go-fuse makes its own blocks where it is 0
}

func fillStatfs(out *fuse.StatfsOut, st unix.Statfs_t) {
	*out = fuse.StatfsOut{
		Blocks: st.Blocks, Bfree: st.Bfree, Bavail: st.Bavail, Files: st.Files, Ffree: st.Ffree,
		Bsize: uint32(st.Bsize), Frsize: uint32(st.Frsize), NameLen: uint32(st.Namelen),
	}
}

// changes translates a SETATTR.
func changes(in *fuse.SetAttrIn) store.SetAttr {
	var s store.SetAttr
	if v, ok := in.GetMode(); ok {
		s.Mode = &v
	}
	if v, ok := in.GetUID(); ok {
		s.UID = &v
	}
	if v, ok := in.GetGID(); ok {
		s.GID = &v
	}
	if v, ok := in.GetSize(); ok {
		size := int64(v)
		s.Size = &size
	}
	if v, ok := in.GetATime(); ok {
		s.Atime = &v
	}
	if v, ok := in.GetMTime(); ok {
		s.Mtime = &v
	}
	return s
}

// answerSetattr ends a SETATTR: go-fuse adds neither number nor validity to this answer.
func (t *tree) answerSetattr(out *fuse.AttrOut, a store.Attr, err error) syscall.Errno {
	if err != nil {
		return t.errno(err)
	}
	fillAttr(&out.Attr, a)
	if out.Timeout() == 0 {
		out.SetTimeout(validity)
	}
	return 0
}

// unprivileged is a mode after a write by somebody who may not keep set-id bits.
func unprivileged(mode uint32) uint32 {
	mode &^= syscall.S_ISUID
	if mode&syscall.S_IXGRP != 0 {
		mode &^= syscall.S_ISGID
	}
	return mode & 07777
}
