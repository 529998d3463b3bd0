package main

import (
	"os"
	"path/filepath"
	"testing"
)

func TestUnescape(t *testing.T) {
	for in, want := range map[string]string{`/mnt/a\040b`: "/mnt/a b", `\134`: `\`, `a\04`: `a\04`, `\999`: `\999`, "": ""} {
		if got := unescape(in); got != want {
			t.Errorf("%q is %q, want %q", in, got, want)
		}
	}
}

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

// TestLocate finds the store: the nearest folder above with .excpfs, else the folder itself.
func TestLocate(t *testing.T) {
	root, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{"store/.excpfs", "store/run/ckpt", "bare/run"} {
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
		"bare/run":           {store: "bare/run"},
		"bare/run/file":      {store: "bare/run", path: "file"},
		"bare/run/not-there": {store: "bare/run", path: "not-there"},
	} {
		want.store = filepath.Join(root, want.store)
		got, err := locate(filepath.Join(root, arg))
		if err != nil || got != want {
			t.Errorf("locate(%s) = %+v, %v; want %+v", arg, got, err, want)
		}
	}
	if _, err := locate(filepath.Join(root, "no/such/place")); err == nil {
		t.Error("a place that does not exist was found")
	}
}
