package tests

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func isStore(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, ".excpfs"))
	return err == nil
}

// TestStoreBegins: a folder named on the command line becomes a store only below no other, and it is told.
func TestStoreBegins(t *testing.T) {
	root := t.TempDir()
	run := filepath.Join(root, "s/run1")
	must(t, "mkdir", "-p", run, filepath.Join(root, "outer/run1"))
	r := excpfs(t, 0, "pack", checkpoint("500"), run)
	contains(t, r.stderr, "excpfs: begins a store in "+run+"\n")
	if !isStore(run) || isStore(filepath.Join(root, "s")) {
		t.Error("the store is elsewhere")
	}
	r = excpfs(t, 0, "pack", checkpoint("600"), run)
	if strings.Contains(r.stderr, "begins a store") {
		t.Errorf("begun again: %s", r.stderr)
	}
	outer := filepath.Join(root, "outer")
	excpfs(t, 0, "pack", checkpoint("500"), outer)
	r = excpfs(t, 0, "pack", checkpoint("600"), filepath.Join(outer, "run1"))
	if isStore(filepath.Join(outer, "run1")) || strings.Contains(r.stderr, "begins a store") {
		t.Errorf("a store inside a store: %s", r.stderr)
	}
	contains(t, excpfs(t, 1, "pack", "--in-place", filepath.Join(root, "none")).stderr, "none does not exist")
	must(t, "mkdir", filepath.Join(root, "src"))
	must(t, "cp", "-r", checkpoint("500"), filepath.Join(root, "src"))
	r = excpfs(t, 1, "pack", filepath.Join(root, "src/checkpoint-500"), filepath.Join(root, "none"))
	contains(t, r.stderr, "which would become the store")
	if isStore(root) || strings.Contains(r.stderr, "begins") {
		t.Errorf("begun without need: %s", r.stderr)
	}
}

// TestPackMakesFolder: DEST is made, in a store that begins above it.
func TestPackMakesFolder(t *testing.T) {
	store := t.TempDir()
	r := excpfs(t, 0, "pack", checkpoint("500"), checkpoint("600"), filepath.Join(store, "a/run1"))
	contains(t, r.stderr, "begins a store in "+store+"\n")
	excpfs(t, 0, "pack", checkpoint("700"), filepath.Join(store, "b/run2/last"))
	for _, name := range []string{"a/run1/checkpoint-500", "a/run1/checkpoint-600", "b/run2/last"} {
		if _, err := os.Stat(filepath.Join(store, name, "model.safetensors.excp")); err != nil {
			t.Error(err)
		}
	}
	if !isStore(store) {
		t.Error("the store is elsewhere")
	}
	r = excpfs(t, 1, "pack", checkpoint("700"), checkpoint("500"), filepath.Join(store, "a/run1"))
	contains(t, r.stderr, "pack to "+store+"/a/run1: a/run1/checkpoint-500: file already exists")
	r = excpfs(t, 1, "pack", filepath.Join(store, "../"+filepath.Base(store)), store)
	contains(t, r.stderr, "part of the store")
}

// TestOneStoreUnderMount: what lies in a mounted store belongs to it, before anything was written there too.
func TestOneStoreUnderMount(t *testing.T) {
	s := t.TempDir()
	must(t, "cp", "-r", checkpoint("500"), s)
	must(t, "mkdir", filepath.Join(s, "run1"))
	m := remount(t, s, quick...)
	before := isStore(s)
	for _, args := range [][]string{
		{"pack", "--in-place", filepath.Join(s, "checkpoint-500")},
		{"pack", checkpoint("600"), filepath.Join(s, "run1")},
		{"pack", checkpoint("600"), filepath.Join(s, "new/deep")},
	} {
		contains(t, excpfs(t, 1, args...).stderr, s+" is in use by process")
	}
	contains(t, excpfs(t, 1, "mount", filepath.Join(s, "run1"), t.TempDir()).stderr, s+" is in use by process")
	if before || isStore(s) || isStore(filepath.Join(s, "checkpoint-500")) || isStore(filepath.Join(s, "run1")) {
		t.Error("a store was begun under a mount")
	}
	m.add(t, checkpoint("600"))
	contains(t, excpfs(t, 1, "mount", filepath.Join(s, "run1"), t.TempDir()).stderr, "run1 lies in the store "+s)
	m.umount(t)
	r := excpfs(t, 1, "mount", filepath.Join(s, "run1"), t.TempDir())
	contains(t, r.stderr, "run1 lies in the store "+s)
}

// TestMountBelow: a folder is not packed while another daemon writes to a part of it.
func TestMountBelow(t *testing.T) {
	s := t.TempDir()
	must(t, "cp", "-r", checkpoint("500"), s)
	must(t, "mkdir", filepath.Join(s, "run1"))
	m := remount(t, filepath.Join(s, "run1"), quick...)
	r := excpfs(t, 1, "pack", "--in-place", s)
	contains(t, r.stderr, m.store+", which is mounted at "+m.point)
	if isStore(s) {
		t.Error("a store was begun")
	}
}

// TestOuterStore: reading below a store uses that store, with a folder of another in it too.
func TestOuterStore(t *testing.T) {
	root := t.TempDir()
	s, inner := filepath.Join(root, "s"), filepath.Join(root, "s/run1")
	must(t, "mkdir", "-p", inner)
	excpfs(t, 0, "pack", "--profile", "exact", checkpoint("500"), inner) // s is none yet
	excpfs(t, 0, "pack", "--profile", "exact", checkpoint("500"), s)
	excpfs(t, 0, "pack", "--profile", "exact", checkpoint("600"), s)
	at := filepath.Join(inner, "checkpoint-500")
	contains(t, excpfs(t, 0, "ls", at).stdout, "run1/checkpoint-500/model.safetensors")
	excpfs(t, 0, "verify", at)
	excpfs(t, 0, "verify", filepath.Join(s, "checkpoint-600"))
	out := t.TempDir()
	excpfs(t, 0, "unpack", at, filepath.Join(s, "checkpoint-600"), out)
	must(t, "diff", "-r", checkpoint("500"), filepath.Join(out, "checkpoint-500"))
	must(t, "diff", "-r", checkpoint("600"), filepath.Join(out, "checkpoint-600"))
	contains(t, excpfs(t, 1, "unpack", at, filepath.Join(s, "out")).stderr, "lies in the store itself")
	contains(t, excpfs(t, 1, "mount", "-o", "ro", inner, t.TempDir()).stderr, "run1 lies in the store "+s)
}
