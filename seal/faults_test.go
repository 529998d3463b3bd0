package seal

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"excpfs/archive"
	"excpfs/store"
)

// damage flips bytes all over the blocks of an archive.
func (r *rig) damage(p string) {
	r.Helper()
	host := filepath.Join(r.s.Path(), p+".excp")
	b, err := os.ReadFile(host)
	if err != nil {
		r.Fatal(err)
	}
	for at := 64; at < len(b)/2; at += 512 {
		b[at] ^= 0x55
	}
	// In place: the same file, as a disk would do it.
	f, err := os.OpenFile(host, os.O_WRONLY, 0)
	if err != nil {
		r.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt(b, 0); err != nil {
		r.Fatal(err)
	}
}

// Damage in one archive does not keep others from being made.
func TestDamagedBase(t *testing.T) {
	r := newRig(t, Options{})
	md := newModel(30)
	first := md.weights()
	r.put("c-1/model.safetensors", first)
	r.seal()
	r.damage("c-1/model.safetensors")
	for _, f := range []struct {
		path string
		data []byte
	}{{"copy/model.safetensors", first}, {"c-2/model.safetensors", md.step().weights()}} {
		r.put(f.path, f.data)
		r.seal()
		d, lossy := r.dep(f.path, archive.RoleBase)
		if lossy && d.Hint != "copy/model.safetensors" {
			t.Errorf("%s needs the damaged %s", f.path, d.Hint)
		}
		if got := r.get(f.path); !lossy && !bytes.Equal(got, f.data) {
			t.Errorf("%s: other bytes", f.path)
		}
	}
}

// A full disk costs time, not the seal.
func TestNoSpace(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=4m"); err != nil {
		t.Skipf("no tmpfs to fill: %v", err)
	}
	defer unix.Unmount(dir, unix.MNT_DETACH)
	s, err := store.Open(dir, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	r := &rig{t, s, New(s, Options{Profile: excp})}
	b := newModel(31).weights()
	r.put("c-1/model.safetensors", b)
	if r.l.spaceIsLow() {
		t.Error("space is low before the disk is full")
	}
	filler := filepath.Join(dir, "filler")
	if err := os.WriteFile(filler, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filler, make([]byte, int64(st.Bavail-12)*st.Bsize), 0o600); err != nil {
		t.Fatal(err)
	}
	if !r.l.spaceIsLow() {
		t.Error("space is not low on a full disk")
	}
	plain := r.drain()
	if !strings.HasPrefix(plain["c-1/model.safetensors"], "the store failed") || len(s.Pending()) != 1 {
		t.Fatalf("on a full disk: %v, %d in the queue", plain, len(s.Pending()))
	}
	if tmp, _ := os.ReadDir(filepath.Join(dir, ".excpfs/tmp")); len(tmp) != 0 {
		t.Errorf("left in tmp: %v", tmp)
	}
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	r.seal()
	if !bytes.Equal(r.get("c-1/model.safetensors"), b) {
		t.Error("other bytes")
	}
}

// Files that are read and written while they are sealed always hold what was written last.
func TestBusyFiles(t *testing.T) {
	r := newRig(t, Options{Settle: time.Millisecond, Idle: true})
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { r.l.Run(ctx) })
	md := newModel(32)
	versions := [][]byte{md.weights()}
	for range 5 {
		versions = append(versions, md.step().weights())
	}
	for i := range 15 {
		b := versions[i%len(versions)]
		r.put("last/model.safetensors", b)
		time.Sleep(time.Duration(i%5) * 15 * time.Millisecond)
		if got := r.get("last/model.safetensors"); !r.sealed("last/model.safetensors") && !bytes.Equal(got, b) {
			t.Fatalf("write %d: other bytes", i)
		}
	}
	for deadline := time.Now().Add(20 * time.Second); len(r.s.Pending()) > 0; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("still in the queue: %+v", r.s.Pending())
		}
	}
	cancel()
	wg.Wait()
	if !r.sealed("last/model.safetensors") {
		t.Error("not sealed in the end")
	}
}

// What was found out about a file that changed meanwhile says nothing of it.
func TestChangedWhileJudged(t *testing.T) {
	r := newRig(t, Options{})
	r.put("model.safetensors", []byte("no tensors"))
	p := r.s.Pending()[0]
	good := newModel(33).weights()
	r.put("model.safetensors", good)
	for _, err := range []error{stays("under 64 KiB"), os.ErrInvalid} {
		o := r.l.conclude(t.Context(), p, 0, err)
		if len(o) != 1 || !o[0].again || len(r.s.Pending()) != 1 {
			t.Fatalf("%v: %+v", err, o)
		}
	}
	r.seal()
}

// A reader that keeps a file open holds only that file, and only while it reads.
func TestReaderHoldsOneFile(t *testing.T) {
	r := newRig(t, Options{Settle: time.Millisecond, MaxWait: 300 * time.Millisecond})
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	md := newModel(34)
	r.put("c-1/model.safetensors", md.weights())
	r.put("c-1/optimizer.safetensors", md.step().moments())
	d := r.folder("c-1")
	defer d.Release()
	h, err := d.Open("model.safetensors", unix.O_RDONLY)
	if err != nil {
		t.Fatal(err)
	}
	wg.Go(func() { r.l.Run(ctx) })
	wait := func(p string) {
		for deadline := time.Now().Add(20 * time.Second); !r.sealed(p); time.Sleep(10 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("%s is not sealed", p)
			}
		}
	}
	wait("c-1/optimizer.safetensors")
	if r.sealed("c-1/model.safetensors") {
		t.Error("sealed under a reader")
	}
	h.Release()
	wait("c-1/model.safetensors")
}

// Work is done on threads of low priority, and no other thread is left with it.
func TestAside(t *testing.T) {
	l := &Sealer{o: Options{Idle: true}}
	nice := func() int {
		n, err := unix.Getpriority(unix.PRIO_PROCESS, 0)
		if err != nil {
			t.Error(err)
		}
		return 20 - n // the system call's form
	}
	before := nice()
	if err := l.aside(func() error {
		if n := nice(); n != 19 {
			t.Errorf("nice %d aside", n)
		}
		return os.ErrExist
	}); err != os.ErrExist {
		t.Errorf("error %v", err)
	}
	var after []int
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			for range 100 {
				if n := nice(); n != before {
					after = append(after, n)
				}
			}
		})
	}
	wg.Wait()
	if slices.Max(append(after, before)) != before {
		t.Errorf("threads of nice %v are left", after)
	}
}

// A file that somebody writes to on the host is left alone until he closes it.
func TestWrittenOnTheHost(t *testing.T) {
	r := newRig(t, Options{})
	b := newModel(32).weights()
	r.put("a.safetensors", b)
	f, err := os.OpenFile(filepath.Join(r.s.Path(), "a.safetensors"), os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := r.l.InPlace(t.Context(), "a.safetensors"); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("%v", err)
	}
	if r.sealed("a.safetensors") {
		t.Fatal("sealed under a writer")
	}
	f.Close()
	if err := r.l.InPlace(t.Context(), "a.safetensors"); err != nil || !r.sealed("a.safetensors") {
		t.Errorf("not sealed after the writer is gone: %v", err)
	}
}
