package tests

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// sealedStore makes a store with checkpoints 500 and 600, compressed in profile exact, unmounted.
func sealedStore(t *testing.T) string {
	t.Helper()
	m := mount(t, "--profile", "exact")
	m.add(t, checkpoint("500"))
	m.add(t, checkpoint("600"))
	m.umount(t)
	return m.store
}

func change(t *testing.T, path string, fn func(b []byte) []byte) {
	t.Helper()
	if err := os.WriteFile(path, fn(read(t, path)), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestTruncatedArchive(t *testing.T) {
	store := sealedStore(t)
	change(t, filepath.Join(store, "checkpoint-600/model.safetensors.excp"), func(b []byte) []byte { return b[:len(b)/2] })
	r := excpfs(t, 3, "verify", store)
	contains(t, r.stderr, "checkpoint-600/model.safetensors")
	m := remount(t, store)
	if _, err := os.ReadFile(m.path("checkpoint-600/model.safetensors")); err == nil {
		t.Error("a truncated archive was read")
	}
	same(t, m.path("checkpoint-500/model.safetensors"), filepath.Join(checkpoint("500"), "model.safetensors"))
	same(t, m.path("checkpoint-500/optimizer.safetensors"), filepath.Join(checkpoint("500"), "optimizer.safetensors"))
}

// TestFlippedByte: a damaged chunk is EIO for its tensor and a line of the log that
// names it; all other bytes of the file stay readable.
func TestFlippedByte(t *testing.T) {
	store := sealedStore(t)
	archive := filepath.Join(store, "checkpoint-500/model.safetensors.excp")
	change(t, archive, func(b []byte) []byte { b[16+len(b)/3] ^= 1; return b })
	r := excpfs(t, 3, "verify", filepath.Join(store, "checkpoint-500"))
	contains(t, r.stderr, "checkpoint-500/model.safetensors")
	m := remount(t, store)
	want := read(t, filepath.Join(checkpoint("500"), "model.safetensors"))
	f, err := os.Open(m.path("checkpoint-500/model.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	bad := 0
	for at := 0; at < len(want); at += 4096 {
		b := make([]byte, min(4096, len(want)-at))
		_, err := f.ReadAt(b, int64(at))
		switch {
		case errors.Is(err, syscall.EIO):
			bad++
		case err != nil:
			t.Fatalf("at %d: %v", at, err)
		case string(b) != string(want[at:at+len(b)]):
			t.Fatalf("wrong bytes at %d", at)
		}
	}
	pages := (len(want) + 4095) / 4096
	if bad == 0 || bad == pages {
		t.Errorf("%d of %d pages give EIO", bad, pages)
	}
	t.Logf("%d of %d pages give EIO", bad, pages)
	m.logged(t, "model.safetensors")
	m.logged(t, "gpt_neox")
}

func TestMissingBase(t *testing.T) {
	store := sealedStore(t)
	for _, name := range []string{"model", "optimizer"} {
		if err := os.Remove(filepath.Join(store, "checkpoint-500", name+".safetensors.excp")); err != nil {
			t.Fatal(err)
		}
	}
	r := excpfs(t, 3, "verify", store)
	contains(t, r.stderr, "checkpoint-500/model.safetensors")
	m := remount(t, store)
	if _, err := os.ReadFile(m.path("checkpoint-600/model.safetensors")); !errors.Is(err, syscall.EIO) {
		t.Errorf("reading without the base: %v", err)
	}
	m.logged(t, "checkpoint-500/model.safetensors")
}

func TestFutureVersion(t *testing.T) {
	store := sealedStore(t)
	change(t, filepath.Join(store, "checkpoint-600/model.safetensors.excp"), futureVersion)
	r := command(t, binary, "verify", store)
	if r.code == 0 {
		t.Error("an archive of a later version passed")
	}
	contains(t, r.stderr, "version 3")
	if strings.Contains(r.stderr, "damage found") && !strings.Contains(r.stderr, "newer") {
		t.Errorf("a newer version is no damage: %s", r.stderr)
	}
}

// TestUntouched: a folder mounted, read and unmounted has not one byte or time changed.
func TestUntouched(t *testing.T) {
	for _, flags := range [][]string{nil, {"-o", "ro"}} {
		store := t.TempDir()
		must(t, "cp", "-r", checkpoint("500"), checkpoint("600"), store)
		before := fingerprint(t, store)
		m := remount(t, store, append(quick, flags...)...)
		same(t, m.path("checkpoint-500/model.safetensors"), filepath.Join(checkpoint("500"), "model.safetensors"))
		must(t, "ls", "-lR", m.point)
		if s := m.state("checkpoint-500/model.safetensors"); s != "plain" {
			t.Errorf("a file nobody wrote is %s", s)
		}
		m.umount(t)
		if after := fingerprint(t, store); after != before {
			t.Errorf("before:\n%s\nafter:\n%s", before, after)
		}
	}
}

// fingerprint has everything about a folder but access times.
func fingerprint(t *testing.T, dir string) string {
	t.Helper()
	return must(t, "sh", "-c", "cd '"+dir+"' && find . -printf '%p %y %m %U %G %s %T@ %C@ %i\n' | sort && find . -type f -print0 | sort -z | xargs -0 sha256sum")
}

func TestTwoMounts(t *testing.T) {
	m := mount(t)
	m.add(t, checkpoint("500"))
	second := t.TempDir()
	r := command(t, binary, "mount", "--log", filepath.Join(t.TempDir(), "log"), m.store, second)
	if r.code != 1 || leftovers()[second] {
		t.Errorf("a second writer was let in\n%v", r)
	}
	contains(t, r.stderr, "process")
	beside := remount(t, m.store, "-o", "ro")
	same(t, beside.path("checkpoint-500/model.safetensors"), m.path("checkpoint-500/model.safetensors"))
	if err := os.WriteFile(beside.path("x"), nil, 0o644); !errors.Is(err, syscall.EROFS) {
		t.Errorf("writing into a read-only mount: %v", err)
	}
	// What the writer adds later, the reader sees.
	m.add(t, checkpoint("600"))
	same(t, beside.path("checkpoint-600/model.safetensors"), m.path("checkpoint-600/model.safetensors"))
}
