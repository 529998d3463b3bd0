package store

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"excpfs/archive"

	"golang.org/x/sys/unix"
)

// Names see both forms of what is there.
func TestErrors(t *testing.T) {
	for _, form := range []Form{Plain, Sealed} {
		t.Run(formNames[form], func(t *testing.T) {
			e := newEnv(t)
			e.write("f", contentA)
			e.mkdir("d")
			e.mkdir("d/sub")
			e.write("g", contentB)
			if form == Sealed {
				e.must(e.trySeal("f", nil))
			}
			root := e.s.Root()
			_, err := root.Mkdir("f", 0o755, me)
			e.wants(err, unix.EEXIST)
			_, err = root.Symlink("f", "x", me)
			e.wants(err, unix.EEXIST)
			_, err = root.Mknod("f", unix.S_IFIFO|0o644, 0, me)
			e.wants(err, unix.EEXIST)
			_, _, err = root.Create("f", unix.O_RDWR|unix.O_EXCL, 0o644, me)
			e.wants(err, unix.EEXIST)
			_, err = root.Link("g", root, "f")
			e.wants(err, unix.EEXIST)
			_, err = root.Link("f", root, "g")
			e.wants(err, unix.EEXIST)
			_, err = root.Link("d", root, "h")
			e.wants(err, unix.EPERM)
			_, err = e.s.Dir("f")
			e.wants(err, unix.ENOTDIR)
			e.wants(root.Rmdir("f"), unix.ENOTDIR)
			e.wants(root.Rmdir("d"), unix.ENOTEMPTY)
			e.wants(root.Unlink("d"), unix.EISDIR)
			e.wants(root.Unlink("none"), unix.ENOENT)
			e.wants(root.Rename("f", root, "g", unix.RENAME_NOREPLACE), unix.EEXIST)
			e.wants(root.Rename("g", root, "f", unix.RENAME_NOREPLACE), unix.EEXIST)
			e.wants(root.Rename("f", root, "d", 0), unix.EISDIR)
			e.wants(root.Rename("d", root, "f", 0), unix.ENOTDIR)
			e.wants(root.Rename("f", root, "none", unix.RENAME_EXCHANGE), unix.ENOENT)
			e.wants(root.Rename("f", root, "x", unix.RENAME_WHITEOUT), unix.EINVAL)
			e.wants(root.Rename("f", root, "x", unix.RENAME_NOREPLACE|unix.RENAME_EXCHANGE), unix.EINVAL)
			_, err = root.Open("d", unix.O_RDONLY)
			e.wants(err, unix.EISDIR)
			size := int64(-1)
			_, err = root.SetAttr("f", SetAttr{Size: &size})
			e.wants(err, unix.EINVAL)
			e.must(root.Rename("f", root, "f", 0))
			e.must(root.Rename("f", root, "d", unix.RENAME_EXCHANGE))
			e.holds("d", contentA)
			if e.entry("f/sub").Dir == nil {
				t.Fatal("the folder did not move")
			}
			e.form("d", form)
			e.clean()
		})
	}
}

func TestHardLinks(t *testing.T) {
	e := newEnv(t)
	e.seal("a", contentA, nil)
	e.mkdir("d")
	d := e.s.Root()
	sub, _ := e.at("d/b")
	x, err := d.Link("a", sub, "b")
	e.must(err)
	if x.Form != Sealed || x.Attr.Nlink != 2 || x.Attr.Ino != e.entry("a").Attr.Ino {
		t.Fatalf("%+v", x)
	}
	e.must(d.Rename("a", sub, "b", 0)) // the same file: nothing happens
	e.holds("a", contentA)
	for _, text := range []string{"", "patched"} {
		e.must(e.patch("d/b", text))
		if a, b := e.entry("a").Attr, e.entry("d/b").Attr; a.Ino != b.Ino || a.Ino != x.Attr.Ino || a.Nlink != 2 {
			t.Fatalf("%+v %+v", a, b)
		}
	}
	e.holds("a", patched)
	e.holds("d/b", patched)
	e.form("a", Plain)
	if err := e.trySeal("d/b", nil); err != ErrChanged {
		t.Fatal(err)
	}
	// By a handle opened under a name that is gone.
	e.seal("p", contentB, nil)
	_, err = d.Link("p", d, "q")
	e.must(err)
	h, err := d.Open("p", unix.O_RDONLY)
	e.must(err)
	e.unlink("p")
	if at, _ := h.Attr(); at.Nlink != 1 {
		t.Fatalf("nlink %d", at.Nlink)
	}
	e.must(e.patch("q", "patched"))
	if h.Sealed() {
		t.Fatal("the handle does not see what was written")
	}
	h.Release()
	e.clean()
}

// Names that others gave an archive: those in the store follow, a copy outside keeps the archive, and does not
// count as a place where dependents find it.
func TestForeignLinks(t *testing.T) {
	e := newEnv(t)
	sealBase(e)
	out := filepath.Join(t.TempDir(), "snapshot")
	e.must(os.Link(filepath.Join(e.dir, "a.excp"), out))
	e.must(os.Link(filepath.Join(e.dir, "a.excp"), filepath.Join(e.dir, "b.excp")))
	e.s.cat.scanned = time.Time{}
	e.must(e.patch("a", "patched"))
	e.holds("a", patched)
	e.holds("b", patched)
	e.holds("dep", contentD)
	e.retained(1)
	if fi, err := os.Stat(out); err != nil || fi.Size() == int64(len(contentA)) {
		t.Fatal(fi, err)
	}
	e.seal("c", contentB, nil)
	e.seal("dep2", contentD, contentB)
	e.must(os.Link(filepath.Join(e.dir, "c.excp"), out+"2"))
	e.unlink("c")
	e.holds("dep2", contentD)
	e.reopen()
	e.holds("dep2", contentD)
}

// A reader beside the writer sees what is there, and finds bases.
func TestReader(t *testing.T) {
	e := newEnv(t)
	sealBase(e)
	e.unlink("a")
	r := &env{t: t}
	var err error
	r.s, err = Open(e.dir, Options{ReadOnly: true})
	e.must(err)
	defer r.close()
	r.holds("dep", contentD)
	e.seal("b", contentB, contentD)
	r.holds("b", contentB)
	list, err := r.s.Candidates(t.Context(), e.entrySchema("b"), "x")
	if err != nil || len(list) != 3 {
		t.Fatal(list, err)
	}
	_, err = r.s.Root().Open("b", unix.O_RDWR)
	e.wants(err, unix.EROFS)
	if err := r.s.Root().Unlink("b"); err != unix.EROFS {
		t.Fatal(err)
	}
}

func TestOwner(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root to make files of others")
	}
	e := newEnv(t)
	root := e.s.Root()
	other := Caller{1234, 5678}
	defer unix.Umask(unix.Umask(0)) // as the command does
	x, err := root.Mkdir("d", 0o775, other)
	e.must(err)
	x.Attr, err = root.SetAttr("d", SetAttr{Mode: ptr(uint32(0o2775))})
	e.must(err)
	if x.Attr.Uid != 1234 || x.Attr.Gid != 5678 || x.Attr.Mode != unix.S_IFDIR|0o2775 {
		t.Fatalf("%o of %d:%d", x.Attr.Mode, x.Attr.Uid, x.Attr.Gid)
	}
	_, h, err := x.Dir.Create("f", unix.O_RDWR, 0o4755, Caller{99, 98})
	e.must(err)
	at, err := h.Attr()
	e.must(err)
	if at.Uid != 99 || at.Gid != 5678 || at.Mode != unix.S_IFREG|0o4755 {
		t.Fatalf("%o of %d:%d", at.Mode, at.Uid, at.Gid)
	}
	_, err = h.WriteAt(contentA, 0)
	e.must(err)
	e.must(File{Dir: x.Dir, Name: "f"}.Setxattr("user.note", []byte("hello"), 0))
	_, err = h.SetAttr(SetAttr{Mode: ptr(uint32(0o4755))})
	e.must(err)
	h.Release()
	link, err := root.Symlink("l", "d/f", other)
	e.must(err)
	if link.Attr.Uid != 1234 {
		t.Fatalf("link of %d", link.Attr.Uid)
	}
	check := func() {
		t.Helper()
		at := e.entry("d/f").Attr
		v, err := x.Dir.Getxattr("f", "user.note")
		if at.Uid != 99 || at.Gid != 5678 || at.Mode != unix.S_IFREG|0o4755 || string(v) != "hello" {
			t.Fatalf("%o of %d:%d, %q %v", at.Mode, at.Uid, at.Gid, v, err)
		}
	}
	e.must(e.trySeal("d/f", nil))
	check()
	_, err = x.Dir.SetAttr("f", SetAttr{UID: ptr(uint32(99)), Mode: ptr(uint32(0o4755))})
	e.must(err)
	check()
	e.must(e.patch("d/f", "patched"))
	check()
	e.must(e.trySeal("d/f", nil))
	e.must(e.overwrite("d/f", contentB))
	check()
}

func ptr[T any](v T) *T { return &v }

func TestXattrs(t *testing.T) {
	e := newEnv(t)
	e.seal("a", contentA, nil)
	e.seal("dir.excp", contentB, contentA)
	d := e.s.Root()
	for attr, want := range map[string]string{"state": "sealed", "profile": "exact", "base": "a", "depth": "1"} {
		got, err := d.Getxattr("dir.excp", virtual+attr)
		if err != nil || string(got) != want {
			t.Errorf("%s is %q (%v), want %q", attr, got, err, want)
		}
	}
	e.must(File{Dir: d, Name: "a"}.Setxattr(virtual+"state", []byte("x"), 0))
	e.must(File{Dir: d, Name: "a"}.Removexattr(virtual + "depth"))
	list, err := File{Dir: d, Name: "a"}.Listxattr()
	e.must(err)
	if !slices.Contains(list, virtual+"ratio") || !slices.Contains(list, virtual+"depth") {
		t.Fatalf("%q", list)
	}
	_, err = d.Getxattr("a", virtual+"nonsense")
	e.wants(err, unix.ENODATA)
	if v, err := d.Getxattr("", virtual+"store"); err != nil || string(v) != e.dir {
		t.Fatalf("%q %v", v, err)
	}
	_, err = d.Getxattr("none", virtual+"state")
	e.wants(err, unix.ENOENT)
}

// A damaged archive is listed, and opening it is an error that names it; it can be removed and overwritten.
func TestDamaged(t *testing.T) {
	e := newEnv(t)
	for _, name := range []string{"a", "b"} {
		e.seal(name, contentA, nil)
		e.must(os.Truncate(filepath.Join(e.dir, name+suffix), 1000))
	}
	e.reopen()
	at := e.entry("a").Attr
	if at.Size != 1000 || at.Blocks == 0 {
		t.Fatalf("size %d blocks %d", at.Size, at.Blocks)
	}
	_, err := e.tryRead("a")
	if _, ok := errors.AsType[*archive.DamageError](err); !ok || !strings.Contains(err.Error(), "a.excp") {
		t.Fatal(err)
	}
	if err := e.patch("a", "x"); err == nil {
		t.Fatal("thawed")
	}
	e.form("a", Sealed)
	e.must(e.overwrite("a", contentB))
	e.holds("a", contentB)
	e.unlink("b")
	e.absent("b")
	e.clean()
}

func TestTmpfile(t *testing.T) {
	e := newEnv(t)
	d := e.s.Root()
	owner := me
	if os.Getuid() == 0 {
		owner = Caller{7, 8}
	}
	_, h, err := d.Tmpfile(unix.O_RDWR, 0o640, owner)
	e.must(err)
	_, err = h.WriteAt(contentA, 0)
	e.must(err)
	e.queueIs("")
	x, err := h.LinkTo(d, "t")
	e.must(err)
	if at, _ := h.Attr(); x.Attr.Ino != at.Ino || x.Attr.Nlink != 1 || at.Uid != owner.UID || at.Mode&0o777 != 0o640 {
		t.Fatalf("%+v", x)
	}
	e.queueIs("t")
	h.Release()
	e.must(e.trySeal("t", nil))
	e.holds("t", contentA)
}

// Many goroutines read, write, seal, rename and unlink; every read gives one of the contents, whole.
func TestTogether(t *testing.T) {
	e := newEnv(t)
	e.mkdir("x")
	e.mkdir("y")
	want := map[string]bool{}
	bodies := [][]byte{contentA, contentB, contentD}
	for _, b := range bodies {
		want[string(b)] = true
	}
	names := []string{"x/1", "x/2", "y/1", "y/2"}
	for i, n := range names {
		e.write(n, bodies[i%3])
	}
	var wg sync.WaitGroup
	for g := range 6 {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(uint64(g), 3))
			for range 150 {
				if err := e.randomOp(r, names, want); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	e.reopen()
	e.clean()
	e.single()
	for _, n := range names {
		if b, err := e.tryRead(n); err == nil && !want[string(b)] {
			t.Errorf("%s has other bytes", n)
		}
	}
}

func (e *env) randomOp(r *rand.Rand, names []string, want map[string]bool) error {
	n, m := names[r.IntN(len(names))], names[r.IntN(len(names))]
	folder, name := cutLast(n)
	toFolder, toName := cutLast(m)
	d, err := e.s.Dir(folder)
	if err != nil {
		return err
	}
	defer d.Release()
	to, err := e.s.Dir(toFolder)
	if err != nil {
		return err
	}
	defer to.Release()
	switch r.IntN(8) {
	case 0, 1: // a writer that is atomic: temporary file and rename
		tmp := fmt.Sprintf("tmp%d", r.Uint32())
		_, h, err := d.Create(tmp, unix.O_WRONLY|unix.O_EXCL, 0o644, me)
		if err != nil {
			return err
		}
		_, err = h.WriteAt([]byte([][]byte{contentA, contentB, contentD}[r.IntN(3)]), 0)
		h.Release()
		if err == nil {
			err = d.Rename(tmp, d, name, 0)
		}
		return err
	case 2:
		err = d.Rename(name, to, toName, uint32(r.IntN(2))*unix.RENAME_EXCHANGE)
	case 3:
		h, err := d.Open(name, unix.O_RDWR)
		if err == nil {
			h.Release()
		}
		return passable(err)
	case 4, 5:
		for _, p := range e.s.Pending() {
			if err := passable(e.sealPending(p)); err != nil {
				return err
			}
		}
	case 6:
		if r.IntN(4) == 0 {
			err = d.Unlink(name)
		}
	default:
		b, rerr := e.tryRead(n)
		if rerr == nil && !want[string(b)] {
			return fmt.Errorf("%s has %d other bytes", n, len(b))
		}
		err = rerr
	}
	return passable(err)
}

// passable lets pass what others' doings explain.
func passable(err error) error {
	if err == ErrBusy || err == ErrChanged || errors.Is(err, unix.ENOENT) {
		return nil
	}
	return err
}
