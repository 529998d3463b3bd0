package store

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func (e *env) retained(want int) {
	e.t.Helper()
	if got := e.list(private + "/retained"); len(got) != want {
		e.t.Fatalf("retained are %v, want %d", got, want)
	}
}

func (e *env) unlink(path string) {
	e.t.Helper()
	d, name := e.at(path)
	e.must(d.Unlink(name))
}

// A base stays as long as something needs it, then goes.
func TestRetainBase(t *testing.T) {
	e := newEnv(t)
	e.seal("a", contentA, nil)
	e.seal("b", contentB, contentA)
	e.seal("dep", contentD, contentB)
	e.unlink("a")
	e.retained(1)
	e.unlink("b")
	e.retained(2)
	e.holds("dep", contentD)
	e.reopen()
	e.holds("dep", contentD)
	e.retained(2)
	list, err := e.s.Candidates(context.Background(), e.entrySchema("dep"), "b")
	e.must(err)
	if len(list) != 3 {
		t.Fatalf("candidates %+v", list)
	}
	e.write("dep", []byte("other"))
	e.retained(3) // dep is the newest of its schema
	e.unlink("dep")
	e.ageRetained()
	e.reopen()
	e.retained(0)
}

func (e *env) entrySchema(path string) [16]byte {
	e.t.Helper()
	r, err := e.s.OpenArchive(path)
	e.must(err)
	defer r.Close()
	return r.Index().Schema
}

// ageRetained lets the hour pass.
func (e *env) ageRetained() {
	e.s.cat.mu.Lock()
	for _, k := range e.s.cat.retained {
		k.since -= int64(2 * time.Hour)
	}
	e.s.cat.mu.Unlock()
	e.s.ns.Lock()
	e.s.sweep()
	e.s.ns.Unlock()
}

// The newest of a schema outlives its name until the next is sealed.
func TestRetainNewest(t *testing.T) {
	e := newEnv(t)
	e.seal("a", contentA, nil)
	e.unlink("a")
	e.retained(1)
	if c, ok := e.s.Known(context.Background(), idOf(contentA)); !ok || !c.Retained || c.Path != "" {
		t.Fatalf("%+v %v", c, ok)
	}
	e.seal("b", contentB, nil)
	e.retained(0)
	e.seal("c", contentA, nil)
	e.unlink("b") // not the newest
	e.retained(0)
}

// Another file of the same content makes retaining needless; so does a hard link.
func TestRetainNeedless(t *testing.T) {
	e := newEnv(t)
	e.seal("a", contentA, nil)
	e.seal("copy", contentA, nil)
	e.seal("dep", contentD, contentA)
	d := e.s.Root()
	_, err := d.Link("copy", d, "link")
	e.must(err)
	e.unlink("a")
	e.unlink("copy")
	e.retained(0)
	e.holds("dep", contentD)
	e.unlink("link")
	e.retained(1)
	e.holds("dep", contentD)
}

// An archive that is open goes on being read when its name, its base and the base's name go.
func TestReadUnlinked(t *testing.T) {
	e := newEnv(t)
	e.seal("a", contentA, nil)
	e.seal("b", contentB, contentA)
	d := e.s.Root()
	h, err := d.Open("b", unix.O_RDONLY)
	e.must(err)
	e.unlink("b")
	e.unlink("a")
	at, err := h.Attr()
	e.must(err)
	if at.Nlink != 0 || at.Size != uint64(len(contentB)) {
		t.Fatalf("nlink %d size %d", at.Nlink, at.Size)
	}
	e.ageRetained()
	b := make([]byte, len(contentB))
	_, err = h.ReadAt(b, 0)
	e.must(err)
	if string(b) != string(contentB) {
		t.Fatal("other bytes")
	}
	size := int64(10)
	at, err = h.SetAttr(SetAttr{Size: &size}) // ftruncate of a file without a name
	e.must(err)
	if at.Size != 10 || at.Nlink != 0 {
		t.Fatalf("nlink %d size %d", at.Nlink, at.Size)
	}
	h.Release()
	e.clean()
}

// A swap is refused while somebody has the file, when it changed, or when its base went.
func TestSwapRefused(t *testing.T) {
	e := newEnv(t)
	e.write("a", contentA)
	d := e.s.Root()
	h, err := d.Open("a", unix.O_RDONLY)
	e.must(err)
	if err := e.trySeal("a", nil); err != ErrBusy {
		t.Fatal(err)
	}
	h.Release()
	if err := e.trySeal("a", contentB); err != ErrChanged { // no such base
		t.Fatal(err)
	}
	p, _ := e.pending("a")
	temp, err := e.s.Temp()
	e.must(err)
	e.write("a", contentB)
	if err := e.s.Swap(p, p.ID, temp); err != ErrChanged {
		t.Fatal(err)
	}
	e.s.Discard(temp)
	e.holds("a", contentB)
	e.clean()
	e.must(e.trySeal("a", nil))
	h, err = d.Open("a", unix.O_RDONLY)
	e.must(err)
	if h.KeepCache() {
		t.Fatal("the kernel may keep pages of before the swap")
	}
	// The kernel may hear of this open before it hears of the first, and must not keep them either.
	second, err := d.Open("a", unix.O_RDONLY)
	e.must(err)
	if second.KeepCache() {
		t.Fatal("the kernel may keep pages of before the swap: nobody read since")
	}
	second.Release()
	_, err = h.ReadAt(make([]byte, 1), 0)
	e.must(err)
	h.Release()
	h, err = d.Open("a", unix.O_RDONLY)
	e.must(err)
	if !h.KeepCache() {
		t.Fatal("an open after a read drops the pages again")
	}
	h.Release()
}

func TestCandidateOrder(t *testing.T) {
	e := newEnv(t)
	for _, f := range []string{"run", "run/1", "run/2", "run/3", "other"} {
		e.mkdir(f)
	}
	now := time.Now()
	for i, p := range []string{"other/m", "run/1/m", "run/2/m", "run/2/x", "run/3/m"} {
		b := content(1, uint64(10+i))
		e.write(p, b)
		when := now.Add(time.Duration(i-10) * time.Minute)
		d, name := e.at(p)
		_, err := d.SetAttr(name, SetAttr{Mtime: &when})
		e.must(err)
		e.must(e.trySeal(p, nil))
	}
	schema := e.entrySchema("run/3/m")
	e.overwrite("run/3/m", []byte("new"))
	list, err := e.s.Candidates(context.Background(), schema, "run/3/m")
	e.must(err)
	var got []string
	for _, c := range list {
		got = append(got, c.Path)
	}
	want := []string{"", "run/2/m", "run/1/m", "run/2/x", "other/m"}
	if len(got) != len(want) {
		t.Fatalf("%q", got)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Fatalf("%q, want %q", got, want)
		}
	}
	// What a rename of a folder moves is found at its new place.
	root := e.s.Root()
	e.must(root.Rename("run", root, "moved", 0))
	c, ok := e.s.Known(context.Background(), idOf(content(1, 11)))
	if !ok || c.Path != "moved/1/m" {
		t.Fatalf("%+v", c)
	}
}

// A base that others put into the store while it is open is found.
func TestForeignArchive(t *testing.T) {
	e := newEnv(t)
	e.seal("a", contentA, nil)
	e.seal("dep", contentD, contentA)
	e.mkdir("sub")
	e.must(os.Rename(filepath.Join(e.dir, "a.excp"), filepath.Join(e.dir, "sub/z.excp")))
	e.s.cat.scanned = time.Time{}
	e.holds("dep", contentD)
	// Hidden behind a plain file that others wrote, it still serves.
	e.must(os.WriteFile(filepath.Join(e.dir, "sub/z"), []byte("mine"), 0o644))
	e.reopen()
	e.holds("sub/z", []byte("mine"))
	e.holds("dep", contentD)
	e.unlink("sub/z")
	e.absent("sub/z")
	e.holds("dep", contentD)
}

// What nobody comes back for goes when its time is over, without another operation.
func TestGraceEnds(t *testing.T) {
	grace = 300 * time.Millisecond
	t.Cleanup(func() { grace = time.Hour })
	e := newEnv(t)
	e.seal("a", contentA, nil)
	e.unlink("a")
	e.retained(1)
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		if _, known := e.s.Known(context.Background(), idOf(contentA)); !known {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("still retained")
		}
	}
	e.retained(0)
}
