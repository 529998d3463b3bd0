package store

import (
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// A file of one name and another number is left alone: the caller was checked against the first.
func TestFileOfAnotherNumber(t *testing.T) {
	e := newEnv(t)
	e.write("plain", contentA)
	e.seal("sealed", contentB, nil)
	mode, size := uint32(0o600), int64(10)
	for _, path := range []string{"plain", "sealed"} {
		d, name := e.at(path)
		before, want := e.tree(path+map[bool]string{true: ".excp"}[path == "sealed"]), e.read(path)
		f := File{Dir: d, Name: name, Ino: e.entry(path).Attr.Ino + 1}
		_, err := f.Open(unix.O_RDONLY)
		e.wants(err, unix.ESTALE)
		_, err = f.Open(unix.O_WRONLY | unix.O_TRUNC)
		e.wants(err, unix.ESTALE)
		_, err = f.SetAttr(SetAttr{Mode: &mode})
		e.wants(err, unix.ESTALE)
		_, err = f.SetAttr(SetAttr{Size: &size})
		e.wants(err, unix.ESTALE)
		e.wants(f.Setxattr("user.note", []byte("x"), 0), unix.ESTALE)
		e.wants(f.Removexattr("user.note"), unix.ESTALE)
		_, err = f.Getxattr(virtual + "state")
		e.wants(err, unix.ESTALE)
		e.holds(path, want)
		if after := e.tree(path + map[bool]string{true: ".excp"}[path == "sealed"]); after != before {
			t.Errorf("%s was changed:\n%s\n%s", path, before, after)
		}
		f.Ino--
		_, err = f.SetAttr(SetAttr{Mode: &mode})
		e.must(err)
		if got := e.entry(path).Attr.Mode & 0o7777; uint32(got) != mode {
			t.Errorf("%s has mode %o", path, got)
		}
	}
}

// A log that is open for as long as the training runs does not keep what nothing needs.
func TestLongOpenFileKeepsNothing(t *testing.T) {
	e := newEnv(t)
	d, _ := e.at("log")
	_, log, err := d.Create("log", unix.O_WRONLY, 0o644, me)
	e.must(err)
	defer log.Release()
	e.seal("last", contentA, nil)
	e.seal("last", contentB, nil)
	if n := len(e.list(private + "/retained")); n != 1 {
		t.Fatalf("%d retained while a file just written may be an edited form", n)
	}
	e.s.mu.Lock()
	for _, it := range e.s.queue.m {
		it.queued = it.queued.Add(-2 * grace)
	}
	e.s.mu.Unlock()
	e.seal("last", contentA, nil)
	if l := e.list(private + "/retained"); len(l) > 0 {
		t.Fatalf("retained for a log: %v", l)
	}
	e.holds("last", contentA)
}

// A process that a killed mount left may still write to the host file.
func TestWriterOutsideTheMount(t *testing.T) {
	e := newEnv(t)
	e.write("a", contentA)
	f, err := os.OpenFile(filepath.Join(e.dir, "a"), os.O_RDWR, 0)
	e.must(err)
	defer f.Close()
	if err := e.trySeal("a", nil); err != ErrBusy {
		t.Fatalf("sealed while somebody writes: %v", err)
	}
	e.form("a", Plain)
	e.clean()
	f.Close()
	e.must(e.trySeal("a", nil))
	e.holds("a", contentA)
}

// A rename over a sealed file: the bytes of the new one are durable before the old one goes, and
// the intent is gone for good before anything comes after it.
func TestRenameOverSealedIsDurable(t *testing.T) {
	e := newEnv(t)
	e.seal("a", contentA, nil)
	e.write("new", contentB)
	var ops []string
	e.hook = func(op, name string) error {
		ops = append(ops, op+" "+name)
		return nil
	}
	root := e.s.Root()
	e.must(root.Rename("new", root, "a", 0))
	e.hook = nil
	data, old := slices.Index(ops, "fsync new"), slices.Index(ops, "unlink a.excp")
	if data < 0 || old < 0 || data > old {
		t.Errorf("the old bytes go before the new ones are durable: %q", ops)
	}
	last := -1
	for i, op := range ops {
		if strings.HasPrefix(op, "unlink 0") {
			last = i
		}
	}
	if last < 0 || last+1 >= len(ops) || ops[last+1] != "fsync ." {
		t.Errorf("the intent may come back: %q", ops)
	}
	e.holds("a", contentB)
}

// An ACL of the folder is not that of every file in it.
func TestNoInheritedACL(t *testing.T) {
	e := &env{t: t, dir: t.TempDir()}
	acl := []byte{2, 0, 0, 0} // user::rwx user:1:rwx group::r-x mask::rwx other::r-x
	for _, x := range [][3]uint32{{1, 7, ^uint32(0)}, {2, 7, 1}, {4, 5, ^uint32(0)}, {0x10, 7, ^uint32(0)}, {0x20, 5, ^uint32(0)}} {
		acl = append(acl, byte(x[0]), 0, byte(x[1]), 0, byte(x[2]), byte(x[2]>>8), byte(x[2]>>16), byte(x[2]>>24))
	}
	if err := unix.Setxattr(e.dir, "system.posix_acl_default", acl, 0); err != nil {
		t.Skip("no ACLs here:", err)
	}
	e.open()
	defer e.close()
	e.write("a", contentA)
	const access = "system.posix_acl_access"
	e.must(unix.Removexattr(filepath.Join(e.dir, "a"), access))
	e.must(os.Chmod(filepath.Join(e.dir, "a"), 0o640))
	e.must(e.trySeal("a", nil))
	if n, err := unix.Getxattr(filepath.Join(e.dir, "a.excp"), access, nil); err != unix.ENODATA {
		t.Errorf("the archive has an ACL that its file had not: %d bytes, %v", n, err)
	}
	d, name := e.at("a")
	h, err := d.Open(name, unix.O_RDWR)
	e.must(err)
	_, err = h.WriteAt([]byte("x"), 0)
	e.must(err)
	h.Release()
	if n, err := unix.Getxattr(filepath.Join(e.dir, "a"), access, nil); err != unix.ENODATA {
		t.Errorf("the thawed file has an ACL that the archive had not: %d bytes, %v", n, err)
	}
}

// More folders than descriptors: those not in use are opened again when they are needed, wherever they are by then.
func TestFewDescriptors(t *testing.T) {
	e := newEnv(t)
	e.s.maxDirs = 8
	var all []*Dir
	for i := range 40 {
		path := strconv.Itoa(i % 8)
		if i >= 8 {
			path += "/" + strconv.Itoa(i)
		}
		e.mkdir(path)
		e.write(path+"/f", []byte(path))
		d, _ := e.at(path + "/f")
		all = append(all, d)
	}
	root := e.s.Root()
	e.must(root.Rename("3", root, "moved", 0))
	e.entry("moved")
	if n := e.s.openDirs.Load(); n > 9 {
		t.Errorf("%d descriptors of folders are open", n)
	}
	for i, d := range all {
		h, err := d.Open("f", unix.O_RDONLY)
		if err != nil {
			t.Fatalf("folder %d: %v", i, err)
		}
		h.Release()
		_, err = d.Attr()
		e.must(err)
		e.must(d.Fsync())
	}
	e.must(os.RemoveAll(filepath.Join(e.dir, "5")))
	e.s.ns.Lock()
	e.s.closeDirs(0)
	e.s.ns.Unlock()
	_, err := all[5].Lookup("f")
	e.wants(err, unix.ENOENT)
	_, err = all[5].Attr()
	e.wants(err, unix.ENOENT)
	for _, d := range all {
		d.Release()
	}
}

// A user's own folder may be called like an archive.
func TestRenameOverFolderCalledExcp(t *testing.T) {
	e := &env{t: t, dir: t.TempDir()}
	e.must(os.Mkdir(filepath.Join(e.dir, "x.excp"), 0o755))
	e.open()
	defer e.close()
	e.mkdir("new")
	e.write("new/f", contentA)
	root := e.s.Root()
	e.must(os.WriteFile(filepath.Join(e.dir, "x.excp", "old"), nil, 0o644))
	e.wants(root.Rename("new", root, "x.excp", 0), unix.ENOTEMPTY)
	e.must(os.Remove(filepath.Join(e.dir, "x.excp", "old")))
	e.must(root.Rename("new", root, "x.excp", 0))
	e.holds("x.excp/f", contentA)
	e.absent("new")
	e.clean()
}

// Again tells of one file what Pending tells of all.
func TestAgain(t *testing.T) {
	e := newEnv(t)
	e.write("a", contentA)
	p, _ := e.pending("a")
	if q, ok := e.s.Again(p); !ok || q != p {
		t.Errorf("%v %+v, want %+v", ok, q, p)
	}
	d, _ := e.at("a")
	h, err := d.Open("a", unix.O_WRONLY)
	e.must(err)
	if q, ok := e.s.Again(p); !ok || !q.Open || !q.Writing {
		t.Errorf("of an open file: %v %+v", ok, q)
	}
	h.Release()
	e.must(d.Rename("a", d, "b", 0))
	if _, ok := e.s.Again(p); ok {
		t.Error("a file of another name now")
	}
	p, _ = e.pending("b")
	e.must(d.Unlink("b"))
	if _, ok := e.s.Again(p); ok {
		t.Error("a file that is gone")
	}
}

// asNobody runs fn with the rights of another user.
func asNobody(fn func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // which ends with the goroutine
		unix.Setfsuid(65534)
		fn()
	}()
	<-done
}

// An archive that the host does not let us read may be the base of others: it is not removed unseen.
func TestRemoveUnread(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("root alone can act as somebody else")
	}
	e := newEnv(t)
	e.seal("a", contentA, nil)
	e.seal("b", contentB, contentA)
	e.write("plain", contentB)
	e.must(os.Chmod(e.dir, 0o777))
	e.must(os.Chmod(filepath.Join(e.dir, "a.excp"), 0o600))
	e.s.sums.m = nil
	root := e.s.Root()
	asNobody(func() {
		if err := root.Unlink("a"); err != unix.EACCES {
			t.Errorf("unlink: %v", err)
		}
		if err := root.Rename("plain", root, "a", 0); err != unix.EACCES {
			t.Errorf("rename over: %v", err)
		}
	})
	e.holds("a", contentA)
	e.holds("b", contentB)
}

// What the scan could not read may need anything: then nothing is forgotten.
func TestScanThatMayNotRead(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("root alone can act as somebody else")
	}
	for _, hide := range []string{"d", "d/b.excp"} {
		e := newEnv(t)
		e.mkdir("d")
		e.seal("a", contentA, nil)
		e.write("d/b", contentB)
		e.must(e.trySeal("d/b", contentA))
		e.seal("newer", content(1, 2), nil) // or it would be kept for that
		e.must(os.Chmod(filepath.Join(e.dir, hide), 0o700))
		e.must(os.Chmod(filepath.Join(e.dir, private, "retained"), 0o755)) // the scan begins there
		// What waits on the catalogue ends first.
		e.s.stop()
		e.s.wg.Wait()
		e.s.sums.m = nil
		e.s.cat.init()
		asNobody(func() { e.s.scan(t.Context()) })
		d, _ := e.at("a")
		e.must(d.Unlink("a"))
		if l := e.list(private + "/retained"); len(l) != 1 {
			t.Errorf("%s cannot be read, and its base was removed", hide)
		}
		e.must(os.Chmod(filepath.Join(e.dir, hide), 0o755))
		e.reopen()
		e.holds("d/b", contentB)
		e.close()
	}
}
