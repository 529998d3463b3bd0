package store

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestPlain(t *testing.T) {
	e := newEnv(t)
	e.mkdir("a")
	e.write("a/f", []byte("hello"))
	e.holds("a/f", []byte("hello"))
	if b, err := os.ReadFile(filepath.Join(e.dir, "a/f")); err != nil || string(b) != "hello" {
		t.Fatalf("host has %q, %v", b, err)
	}
	d, _ := e.at("a/f")
	e.must(d.Rename("f", d, "g", 0))
	e.absent("a/f")
	size := int64(2)
	_, err := d.SetAttr("g", SetAttr{Size: &size})
	e.must(err)
	e.holds("a/g", []byte("he"))
	e.must(d.Unlink("g"))
	e.absent("a/g")
	list, err := e.s.Root().ReadDir()
	e.must(err)
	if len(list) != 1 || list[0].Name != "a" || list[0].Mode != unix.S_IFDIR {
		t.Fatalf("root lists %v", list)
	}
}

func TestSealedRead(t *testing.T) {
	e := newEnv(t)
	a, b := content(1, 0), content(1, 1)
	e.write("a", a)
	before := e.entry("a").Attr
	e.must(e.trySeal("a", nil))
	e.form("a", Sealed)
	after := e.entry("a").Attr
	if after.Ino != before.Ino || after.Size != before.Size || after.Mtime != before.Mtime || after.Uid != before.Uid || after.Mode != before.Mode {
		t.Fatalf("sealing changed %+v\nto %+v", before, after)
	}
	e.seal("b", b, a)
	e.holds("a", a)
	e.holds("b", b)
	if got := e.list(""); len(got) != 3 || got[1] != "a.excp" || got[2] != "b.excp" {
		t.Fatalf("host has %v", got)
	}
	e.reopen()
	e.holds("b", b)
	if again := e.entry("a").Attr.Ino; again != before.Ino {
		t.Fatalf("inode number %d, was %d", again, before.Ino)
	}
	e.clean()
}

func TestThaw(t *testing.T) {
	for _, change := range []bool{false, true} {
		e := newEnv(t)
		a := content(1, 0)
		e.seal("a", a, nil)
		d, _ := e.at("a")
		ino := e.entry("a").Attr.Ino
		reader, err := d.Open("a", unix.O_RDONLY)
		e.must(err)
		folder, _ := d.Attr()
		h, err := d.Open("a", unix.O_RDWR)
		e.must(err)
		e.form("a", Plain)
		if reader.Sealed() || h.Sealed() {
			t.Fatal("a handle still reads the archive")
		}
		if got := e.entry("a").Attr.Ino; got != ino {
			t.Fatalf("inode number %d, was %d", got, ino)
		}
		if change {
			_, err := h.WriteAt([]byte("X"), 100)
			e.must(err)
			a[100] = 'X'
		}
		b := make([]byte, len(a))
		_, err = reader.ReadAt(b, 0)
		e.must(err)
		if string(b) != string(a) {
			t.Fatal("the first handle reads other bytes")
		}
		h.Release()
		reader.Release()
		if now, _ := d.Attr(); now.Mtime != folder.Mtime {
			t.Fatal("the folder's mtime changed")
		}
		_, queued := e.pending("a")
		if change {
			e.form("a", Plain)
		} else {
			e.form("a", Sealed)
		}
		if queued != change {
			t.Fatalf("queued: %v", queued)
		}
		if got := e.entry("a").Attr; got.Ino != ino || got.Nlink != 1 {
			t.Fatalf("inode number %d, was %d; nlink %d", got.Ino, ino, got.Nlink)
		}
		e.holds("a", a)
		e.clean()
		if change {
			e.must(e.trySeal("a", nil))
			e.holds("a", a)
			if got := e.entry("a").Attr.Ino; got != ino {
				t.Fatalf("inode number %d, was %d", got, ino)
			}
		}
	}
}

func TestTruncateSealed(t *testing.T) {
	e := newEnv(t)
	a := content(1, 0)
	for _, size := range []int64{0, 10, 5000, int64(len(a)), int64(len(a)) + 100} {
		e.seal("a", a, nil)
		d, _ := e.at("a")
		ino := e.entry("a").Attr.Ino
		at, err := d.SetAttr("a", SetAttr{Size: &size})
		e.must(err)
		if int64(at.Size) != size || at.Ino != ino {
			t.Fatalf("size %d inode %d, want %d %d", at.Size, at.Ino, size, ino)
		}
		want := append([]byte(nil), a...)
		e.holds("a", append(want, make([]byte, 100)...)[:size])
		e.clean()
		e.must(d.Unlink("a"))
	}
}

// The folder is as it was after being opened, read and closed.
func TestOpenChangesNothing(t *testing.T) {
	dir := t.TempDir()
	os.MkdirAll(filepath.Join(dir, "a/b"), 0o755)
	os.WriteFile(filepath.Join(dir, "a/b/c"), []byte("x"), 0o644)
	e := &env{t: t, dir: dir}
	before := e.tree("")
	e.open()
	e.holds("a/b/c", []byte("x"))
	d, _ := e.at("a/b/c")
	_, err := d.ReadDir()
	e.must(err)
	e.close()
	if after := e.tree(""); after != before {
		t.Fatalf("before\n%safter\n%s", before, after)
	}
}

// A store's own folder does not show in the root's mtime.
func TestControlKeepsMtime(t *testing.T) {
	e := newEnv(t)
	os.Mkdir(filepath.Join(e.dir, "a"), 0o755)
	before, err := os.Stat(e.dir)
	e.must(err)
	e.write("a/f", []byte("x"))
	after, err := os.Stat(e.dir)
	e.must(err)
	if !before.ModTime().Equal(after.ModTime()) || len(e.list(private)) == 0 {
		t.Fatalf("mtime %v, was %v", after.ModTime(), before.ModTime())
	}
}

func TestLocked(t *testing.T) {
	e := newEnv(t)
	_, err := Open(e.dir, Options{})
	l, ok := errors.AsType[*LockedError](err)
	if !ok || l.PID != os.Getpid() || !strings.Contains(l.Command, "store.test") {
		t.Fatalf("%v (%+v)", err, l)
	}
	r, err := Open(e.dir, Options{ReadOnly: true})
	e.must(err)
	defer r.Close()
	if _, err := r.Root().Mkdir("x", 0o755, me); err != unix.EROFS {
		t.Fatal(err)
	}
}

func TestFutureVersion(t *testing.T) {
	e := newEnv(t)
	e.write("f", nil)
	e.close()
	e.must(os.WriteFile(filepath.Join(e.dir, private, "format"), []byte("excpfs store 2\nid 00\n"), 0o600))
	for _, ro := range []bool{false, true} {
		if _, err := Open(e.dir, Options{ReadOnly: ro}); err == nil || !strings.Contains(err.Error(), "version 2") {
			t.Fatal(err)
		}
	}
}

func TestReservedName(t *testing.T) {
	e := newEnv(t)
	e.write("f", nil)
	root := e.s.Root()
	_, err := root.Lookup(private)
	e.wants(err, unix.ENOENT)
	_, err = root.Mkdir(private, 0o755, me)
	e.wants(err, unix.EPERM)
	e.wants(root.Rename("f", root, private, 0), unix.EPERM)
	for _, name := range []string{"..", ".", "", "a/b", "f/../f"} {
		_, err := root.Lookup(name)
		e.wants(err, unix.EINVAL)
	}
	e.mkdir("d")
	e.mkdir("d/" + private) // reserved at the root only
}

func TestSymlinkLeadsNowhere(t *testing.T) {
	e := newEnv(t)
	out := t.TempDir()
	e.must(os.WriteFile(filepath.Join(out, "secret"), []byte("s"), 0o644))
	e.must(os.Symlink(out, filepath.Join(e.dir, "out")))
	e.must(os.Symlink(filepath.Join(out, "secret"), filepath.Join(e.dir, "file")))
	root := e.s.Root()
	_, err := root.Open("file", unix.O_RDONLY)
	e.wants(err, unix.ELOOP)
	_, err = root.Open("file", unix.O_RDWR|unix.O_TRUNC)
	e.wants(err, unix.ELOOP)
	_, err = e.s.Dir("out")
	e.wants(err, unix.ENOTDIR)
	_, _, err = root.Create("file", unix.O_RDWR|unix.O_TRUNC, 0o644, me)
	e.wants(err, unix.ELOOP)
	mode := uint32(0o600)
	if _, err = root.SetAttr("file", SetAttr{Mode: &mode}); err == nil {
		t.Fatal("chmod of a link")
	}
	if b, _ := os.ReadFile(filepath.Join(out, "secret")); string(b) != "s" {
		t.Fatal("the file outside changed")
	}
	if x, err := root.Readlink("file"); err != nil || x != filepath.Join(out, "secret") {
		t.Fatal(x, err)
	}
}

// Paths longer than PATH_MAX work, also over a crash.
func TestLongPath(t *testing.T) {
	e := newEnv(t)
	d := e.s.Root()
	name := strings.Repeat("n", 200)
	for range 30 {
		x, err := d.Mkdir(name, 0o755, me)
		e.must(err)
		d = x.Dir
	}
	path := join(d.Path(), "f")
	a := content(1, 0)
	e.write(path, a)
	e.reopen()
	e.must(e.trySeal(path, nil))
	e.form(path, Sealed)
	e.holds(path, a)
	e.reopen()
	if _, ok := e.s.Known(context.Background(), idOf(a)); !ok {
		t.Fatal("the scan did not find it")
	}
	// t.TempDir cannot remove it in one go with long paths on every system; unlink by hand.
	d, _ = e.at(path)
	e.must(d.Unlink("f"))
}
