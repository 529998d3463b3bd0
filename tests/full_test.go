package tests

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// smallDisk is a filesystem of its own with little room.
func smallDisk(t *testing.T, options string) string {
	t.Helper()
	needRoot(t)
	needFuse(t)
	dir := t.TempDir()
	if err := unix.Mount("excpfs-test", dir, "tmpfs", 0, options); err != nil {
		t.Skipf("skipped: no tmpfs: %v", err)
	}
	t.Cleanup(func() { unix.Unmount(dir, unix.MNT_DETACH) })
	return dir
}

// fill leaves about free bytes on the disk that dir is on.
func fill(t *testing.T, dir string, free int64) string {
	t.Helper()
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "filler")
	f, err := os.Create(path)
	if err == nil {
		err = unix.Fallocate(int(f.Fd()), 0, 0, int64(st.Bavail)*st.Bsize-free)
	}
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
	return path
}

// TestFullWriting: a writer is told ENOSPC; what was there stays whole.
func TestFullWriting(t *testing.T) {
	m := remount(t, smallDisk(t, "size=3m"), append(quick, "--profile", "exact")...)
	m.add(t, checkpoint("500"))
	fill(t, m.store, 300<<10)
	err := os.WriteFile(m.path("new.safetensors"), read(t, filepath.Join(checkpoint("600"), "optimizer.safetensors")), 0o644)
	if !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("writing to a full disk: %v", err)
	}
	excpfs(t, 0, "wait", "--timeout", "1m", m.path("checkpoint-500"))
	same(t, m.path("checkpoint-500/optimizer.safetensors"), filepath.Join(checkpoint("500"), "optimizer.safetensors"))
	if err := os.Remove(m.path("new.safetensors")); err != nil {
		t.Errorf("the rest of it cannot be removed: %v", err)
	}
}

// TestFullSealing: with no room for an archive the file stays plain and whole, and is
// compressed when there is room.
func TestFullSealing(t *testing.T) {
	m := remount(t, smallDisk(t, "size=3m"), "--profile", "exact", "--settle", "1s")
	original := filepath.Join(checkpoint("500"), "optimizer.safetensors")
	must(t, "cp", original, m.path("optimizer.safetensors"))
	filler := fill(t, m.store, 40<<10)
	r := command(t, binary, "wait", "--timeout", "6s", m.point)
	t.Logf("while the disk is full: %v; state %s", r, m.state("optimizer.safetensors"))
	if m.state("optimizer.safetensors") == "sealed" {
		t.Fatal("sealed with no room")
	}
	same(t, m.path("optimizer.safetensors"), original)
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	m.umount(t)
	again := remount(t, m.store, append(quick, "--profile", "exact")...)
	same(t, again.path("optimizer.safetensors"), original)
	again.wait(t)
	if s := again.state("optimizer.safetensors"); s != "sealed" {
		t.Errorf("with room again it is %s", s)
	}
	same(t, again.path("optimizer.safetensors"), original)
}

// TestFullThawing: opening a sealed file for writing needs room for the plain one;
// without, ENOSPC, and the sealed file stays.
func TestFullThawing(t *testing.T) {
	m := remount(t, smallDisk(t, "size=3m"), append(quick, "--profile", "exact")...)
	m.add(t, checkpoint("500"))
	fill(t, m.store, 64<<10)
	f, err := os.OpenFile(m.path("checkpoint-500/optimizer.safetensors"), os.O_RDWR, 0)
	if err == nil {
		_, err = f.WriteAt([]byte("x"), 0)
		f.Close()
	}
	if !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("opening for writing on a full disk: %v", err)
	}
	same(t, m.path("checkpoint-500/optimizer.safetensors"), filepath.Join(checkpoint("500"), "optimizer.safetensors"))
	if s := m.state("checkpoint-500/optimizer.safetensors"); s != "sealed" {
		t.Errorf("it is %s", s)
	}
}
