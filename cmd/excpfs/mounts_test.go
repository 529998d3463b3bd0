package main

import (
	"os"
	"path/filepath"
	"testing"
)

func TestInside(t *testing.T) {
	for _, tt := range []struct {
		path, dir string
		want      bool
	}{{"/a/b", "/a", true}, {"/a", "/a", true}, {"/ab", "/a", false}, {"/a", "/a/b", false}, {"/a", "/", true}} {
		if got := inside(tt.path, tt.dir); got != tt.want {
			t.Errorf("inside(%q, %q) = %v", tt.path, tt.dir, got)
		}
	}
}

// TestLocate finds the store: the outermost folder above with .excpfs, else the folder itself or the nearest one.
func TestLocate(t *testing.T) {
	root, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{"store/.excpfs", "store/run/ckpt", "store/nested/.excpfs", "bare/run"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(root, "bare/run/file"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for arg, want := range map[string]place{
		"store":              {store: "store"},
		"store/run/ckpt":     {store: "store", path: "run/ckpt"},
		"store/run/new":      {store: "store", path: "run/new"},
		"store/nested/ckpt":  {store: "store", path: "nested/ckpt"},
		"store/new/deep":     {store: "store", path: "new/deep"},
		"bare/run":           {store: "bare/run", fresh: true},
		"bare/run/file":      {store: "bare/run", path: "file", fresh: true},
		"bare/run/not-there": {store: "bare/run", path: "not-there", fresh: true},
		"bare/new/deep":      {store: "bare", path: "new/deep", fresh: true},
	} {
		want.store = filepath.Join(root, want.store)
		got, err := locate(filepath.Join(root, arg))
		if err != nil || got != want {
			t.Errorf("locate(%s) = %+v, %v; want %+v", arg, got, err, want)
		}
	}
	if _, _, err := openForReading(filepath.Join(root, "no/such/place")); err == nil {
		t.Error("a place that does not exist was read")
	}
	if _, _, err := openForWriting("/no/such/place", 0, discardLog()); err == nil {
		t.Error("/ became a store")
	}
}
