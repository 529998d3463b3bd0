package fs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"excpfs/archive"
	"excpfs/decode"
	"excpfs/store"

	fusefs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// raw is the filesystem without a kernel: requests are calls.
func raw(t *testing.T, dir string) fuse.RawFileSystem {
	t.Helper()
	st, err := store.Open(dir, store.Options{CacheSize: 16 << 20})
	ok(t, err)
	t.Cleanup(func() { ok(t, st.Close()) })
	return rawOf(t, st)
}

func rawOf(t *testing.T, st *store.Store) fuse.RawFileSystem {
	t.Helper()
	o := Options{Log: slog.New(slog.DiscardHandler), noPassthrough: true}
	tr := newTree(st, o)
	root := tr.newDirNode(st.Root())
	a, err := root.dir.Attr()
	ok(t, err)
	return fusefs.NewNodeFS(root, tr.options(o, a))
}

func header(node uint64) fuse.InHeader {
	return fuse.InHeader{NodeId: node, Caller: fuse.Caller{Owner: fuse.Owner{Uid: uint32(os.Getuid()), Gid: uint32(os.Getgid())}}}
}

func TestRawRoundTrip(t *testing.T) {
	fs := raw(t, t.TempDir())
	create := fuse.CreateOut{}
	in := fuse.CreateIn{InHeader: header(1), Flags: syscall.O_RDWR | syscall.O_CREAT, Mode: 0o640}
	okStatus(t, fs.Create(nil, &in, "f", &create))
	if create.OpenFlags&fuse.FOPEN_KEEP_CACHE != 0 || create.Attr.Ino == 0 || create.Generation != 0 {
		t.Errorf("create: %+v", create)
	}
	w := fuse.WriteIn{InHeader: header(create.NodeId), Fh: create.Fh, Offset: 3}
	n, status := fs.Write(nil, &w, []byte("hello"))
	okStatus(t, status)
	if n != 5 {
		t.Errorf("wrote %d", n)
	}
	wantBytes(t, "read", read(t, fs, create.NodeId, create.Fh, 0, 100), []byte("\x00\x00\x00hello"))
	okStatus(t, fs.Flush(nil, &fuse.FlushIn{InHeader: header(create.NodeId), Fh: create.Fh}))
	okStatus(t, fs.Fsync(nil, &fuse.FsyncIn{InHeader: header(create.NodeId), Fh: create.Fh}))

	// unlinked, the handle still answers for it
	h := header(1)
	okStatus(t, fs.Unlink(nil, &h, "f"))
	var attr fuse.AttrOut
	okStatus(t, fs.GetAttr(nil, &fuse.GetAttrIn{InHeader: header(create.NodeId)}, &attr))
	if attr.Nlink != 0 || attr.Size != 8 {
		t.Errorf("nlink %d, size %d", attr.Nlink, attr.Size)
	}
	fs.Release(nil, &fuse.ReleaseIn{InHeader: header(create.NodeId), Fh: create.Fh})
	if s := fs.GetAttr(nil, &fuse.GetAttrIn{InHeader: header(create.NodeId)}, &attr); s != fuse.Status(syscall.ESTALE) {
		t.Errorf("after release: %v", s)
	}
	fs.Forget(create.NodeId, 1)
}

func okStatus(t testing.TB, s fuse.Status) {
	t.Helper()
	if !s.Ok() {
		t.Fatal(s)
	}
}

func read(t testing.TB, fs fuse.RawFileSystem, node, fh uint64, off uint64, n int) []byte {
	t.Helper()
	buf := make([]byte, n)
	res, s := fs.Read(nil, &fuse.ReadIn{InHeader: header(node), Fh: fh, Offset: off, Size: uint32(n)}, buf)
	okStatus(t, s)
	defer res.Done()
	b, s := res.Bytes(make([]byte, n))
	okStatus(t, s)
	if res.Size() != len(b) && res.Size() < len(b) {
		t.Errorf("size %d of %d bytes", res.Size(), len(b))
	}
	return bytes.Clone(b)
}

func TestRawSealed(t *testing.T) {
	dir := t.TempDir()
	data := sealedFile(t, filepath.Join(dir, "m.safetensors.excp"))
	fs := raw(t, dir)
	h := header(1)
	var e fuse.EntryOut
	okStatus(t, fs.Lookup(nil, &h, "m.safetensors", &e))
	if e.Size != uint64(len(data)) {
		t.Errorf("size %d", e.Size)
	}
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			var o fuse.OpenOut
			okStatus(t, fs.Open(nil, &fuse.OpenIn{InHeader: header(e.NodeId), Flags: syscall.O_RDONLY}, &o))
			if o.OpenFlags&fuse.FOPEN_NOFLUSH == 0 || o.OpenFlags&(fuse.FOPEN_DIRECT_IO|fuse.FOPEN_PASSTHROUGH) != 0 {
				t.Errorf("open flags %#x", o.OpenFlags)
			}
			for off := i * 100_000; off < len(data); off += 1 << 20 {
				wantBytes(t, "read", read(t, fs, e.NodeId, o.Fh, uint64(off), 1<<20), data[off:min(off+1<<20, len(data))])
			}
			fs.Release(nil, &fuse.ReleaseIn{InHeader: header(e.NodeId), Fh: o.Fh})
		})
	}
	wg.Wait()
}

// After a file was sealed, the first open drops what the kernel has of it, the next keeps it.
func TestRawSwap(t *testing.T) {
	dir := t.TempDir()
	archived := filepath.Join(t.TempDir(), "archived")
	data := sealedFile(t, archived)
	st, err := store.Open(dir, store.Options{CacheSize: 16 << 20})
	ok(t, err)
	t.Cleanup(func() { ok(t, st.Close()) })
	fs := rawOf(t, st)

	var c fuse.CreateOut
	okStatus(t, fs.Create(nil, &fuse.CreateIn{InHeader: header(1), Flags: syscall.O_RDWR | syscall.O_CREAT, Mode: 0o640}, "m.safetensors", &c))
	for off := 0; off < len(data); off += 1 << 20 {
		_, s := fs.Write(nil, &fuse.WriteIn{InHeader: header(c.NodeId), Fh: c.Fh, Offset: uint64(off)}, data[off:min(off+1<<20, len(data))])
		okStatus(t, s)
	}
	temp := func() *os.File {
		f, err := st.Temp()
		ok(t, err)
		b, err := os.ReadFile(archived)
		ok(t, err)
		_, err = f.Write(b)
		ok(t, err)
		return f
	}
	seal := func() error {
		all := st.Pending()
		if len(all) == 0 {
			return errors.New("nothing is pending")
		}
		f, id, err := st.OpenPlain(all[0])
		if err != nil {
			return err
		}
		defer f.Close()
		return st.Swap(all[0], id, temp())
	}
	if err := seal(); err == nil {
		t.Fatal("sealed while open")
	}
	fs.Release(nil, &fuse.ReleaseIn{InHeader: header(c.NodeId), Fh: c.Fh})
	ok(t, seal())

	for i, keep := range []uint32{0, fuse.FOPEN_KEEP_CACHE, fuse.FOPEN_KEEP_CACHE} {
		var o fuse.OpenOut
		okStatus(t, fs.Open(nil, &fuse.OpenIn{InHeader: header(c.NodeId), Flags: syscall.O_RDONLY}, &o))
		if o.OpenFlags&fuse.FOPEN_KEEP_CACHE != keep {
			t.Errorf("open %d: flags %#x", i, o.OpenFlags)
		}
		wantBytes(t, "read", read(t, fs, c.NodeId, o.Fh, 0, len(data)), data)
		fs.Release(nil, &fuse.ReleaseIn{InHeader: header(c.NodeId), Fh: o.Fh})
	}
	var attr fuse.AttrOut
	okStatus(t, fs.GetAttr(nil, &fuse.GetAttrIn{InHeader: header(c.NodeId)}, &attr))
	if attr.Ino != c.Attr.Ino || attr.Size != uint64(len(data)) || attr.Mode&0o777 != 0o640 {
		t.Errorf("inode %d (was %d), size %d, mode %o", attr.Ino, c.Attr.Ino, attr.Size, attr.Mode)
	}
}

// Requests of every kind at once, for the race detector.
func TestRawParallel(t *testing.T) {
	fs := raw(t, t.TempDir())
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for j := range 40 {
				h := header(1)
				var c fuse.CreateOut
				name := fmt.Sprintf("f%d", j%4)
				if s := fs.Create(nil, &fuse.CreateIn{InHeader: h, Flags: syscall.O_RDWR | syscall.O_CREAT | syscall.O_EXCL, Mode: 0o644}, fmt.Sprintf("own%d", i), &c); s.Ok() {
					fs.Write(nil, &fuse.WriteIn{InHeader: header(c.NodeId), Fh: c.Fh}, []byte("x"))
					fs.Rename(nil, &fuse.RenameIn{InHeader: h, Newdir: 1}, fmt.Sprintf("own%d", i), name)
					fs.Release(nil, &fuse.ReleaseIn{InHeader: header(c.NodeId), Fh: c.Fh})
				}
				var e fuse.EntryOut
				if s := fs.Lookup(nil, &h, name, &e); s.Ok() && e.NodeId != 0 {
					var a fuse.AttrOut
					fs.GetAttr(nil, &fuse.GetAttrIn{InHeader: header(e.NodeId)}, &a)
					var o fuse.OpenOut
					if fs.Open(nil, &fuse.OpenIn{InHeader: header(e.NodeId), Flags: syscall.O_RDONLY}, &o).Ok() {
						fs.Release(nil, &fuse.ReleaseIn{InHeader: header(e.NodeId), Fh: o.Fh})
					}
				}
				if j%8 == i {
					fs.Unlink(nil, &h, name)
				}
			}
		})
	}
	wg.Wait()
}

func TestErrno(t *testing.T) {
	var log bytes.Buffer
	tr := &tree{log: slog.New(slog.NewTextHandler(&log, nil))}
	for _, c := range []struct {
		err    error
		want   syscall.Errno
		logged bool
	}{
		{nil, 0, false},
		{syscall.ENOENT, syscall.ENOENT, false},
		{&os.PathError{Err: fmt.Errorf("store: %w", syscall.ENOSPC)}, syscall.ENOSPC, false},
		{syscall.ENOSYS, syscall.EOPNOTSUPP, false},
		{fmt.Errorf("decode: %w", &archive.DamageError{File: "a", What: "checksum"}), syscall.EIO, true},
		{errors.Join(&archive.MissingError{File: "b"}, syscall.ENOENT), syscall.EIO, true},
		{&archive.VersionError{File: "c"}, syscall.EIO, true},
		{archive.ErrNotArchive, syscall.EIO, true},
		{errors.New("something else"), syscall.EIO, true},
	} {
		for range 2 {
			if got := tr.errno(c.err); got != c.want {
				t.Errorf("%v: %v, expected %v", c.err, got, c.want)
			}
		}
		if n := strings.Count(log.String(), "\n"); n != map[bool]int{true: 1}[c.logged] {
			t.Errorf("%v: %d lines in the log", c.err, n)
		}
		log.Reset()
	}
}

// The order of opens decides the mode; a mixture that the kernel refuses never arises.
func TestModes(t *testing.T) {
	dir := t.TempDir()
	sealedFile(t, filepath.Join(dir, "sealed.excp"))
	writeFile(t, filepath.Join(dir, "plain"), []byte("x"))
	st, err := store.Open(dir, store.Options{CacheSize: 16 << 20})
	ok(t, err)
	defer st.Close()
	d := st.Root()
	defer d.Release()

	open := func(t *testing.T, n *fileNode, name string, flags int) *fileHandle {
		h, err := d.Open(name, flags)
		ok(t, err)
		a, err := h.Attr()
		ok(t, err)
		fh, _, errno := n.admit(h, a, uint32(flags))
		okStatus(t, fuse.Status(errno))
		return handleOf(fh)
	}
	node := func(r registrar) *fileNode {
		tr := &tree{store: st, log: slog.Default(), passthrough: true}
		tr.backing.known, tr.backing.server = map[uint64]bool{}, r
		return &fileNode{node: node{t: tr}}
	}
	for _, c := range []struct {
		name   string
		refuse bool
		opens  []string // name and flag
		want   []ioMode
		asked  int
	}{
		{"plain", false, []string{"plain r", "plain w", "plain r"}, []ioMode{passed, passed, passed}, 1},
		{"plain where it is refused", true, []string{"plain w", "plain r", "plain w"}, []ioMode{direct, cached, cached}, 1},
		{"sealed, then thawed", false, []string{"sealed r", "sealed rw", "sealed r"}, []ioMode{cached, cached, cached}, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := &fakeRegistrar{refuse: c.refuse}
			n := node(r)
			var all []*fileHandle
			for i, o := range c.opens {
				name, flag, _ := strings.Cut(o, " ")
				h := open(t, n, name, map[string]int{"r": syscall.O_RDONLY, "w": syscall.O_WRONLY, "rw": syscall.O_RDWR}[flag])
				if h.mode != c.want[i] {
					t.Errorf("open %d (%s): mode %d, expected %d", i, o, h.mode, c.want[i])
				}
				all = append(all, h)
			}
			for _, h := range all {
				h.Release(context.Background())
			}
			if n.modes != [3]int{} || n.write != 0 || len(n.list) != 0 {
				t.Errorf("left: %+v", n.modes)
			}
			if r.asked != c.asked || r.open != 0 {
				t.Errorf("registered %d times, %d left", r.asked, r.open)
			}
		})
	}

	t.Run("released a moment ago", func(t *testing.T) {
		n := node(&fakeRegistrar{})
		next := func(name string, want ioMode) {
			t.Helper()
			h := open(t, n, name, syscall.O_RDWR)
			if h.mode != want {
				t.Errorf("%s: mode %d, expected %d", name, h.mode, want)
			}
			h.Release(context.Background())
		}
		next("plain", passed)
		next("plain", passed) // the same host file
		writeFile(t, filepath.Join(dir, "other"), []byte("y"))
		next("other", cached) // go-fuse may still give it that of before
		next("plain", cached)
		time.Sleep(2 * linger)
		next("other", passed)
	})
}

type fakeRegistrar struct {
	refuse      bool
	asked, open int
}

func (r *fakeRegistrar) RegisterBackingFd(*fuse.BackingMap) (int32, syscall.Errno) {
	r.asked++
	if r.refuse {
		return 0, syscall.EPERM
	}
	r.open++
	return 7, 0
}

func (r *fakeRegistrar) UnregisterBackingFd(int32) syscall.Errno {
	r.open--
	return 0
}

func TestReadResult(t *testing.T) {
	released := 0
	r := &readResult{decode.Slices{Bufs: [][]byte{[]byte("ab"), nil, []byte("c")}, Release: func() { released++ }}}
	b, s := r.Bytes(make([]byte, 10))
	v, _ := r.Slices()
	if !s.Ok() || string(b) != "abc" || r.Size() != 3 || len(v) != 3 {
		t.Errorf("%q, size %d", b, r.Size())
	}
	r.Done()
	if released != 1 {
		t.Errorf("released %d times", released)
	}
}
