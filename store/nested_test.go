package store

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// A folder in a store is no store of its own: neither in one that has .excpfs nor in one that a writer has open.
func TestNested(t *testing.T) {
	outer := t.TempDir()
	inner, link := filepath.Join(outer, "a/run"), filepath.Join(t.TempDir(), "link")
	if err := errors.Join(os.MkdirAll(inner, 0o755), os.Symlink(inner, link)); err != nil {
		t.Fatal(err)
	}
	refused := func(path string, o Options) error {
		t.Helper()
		s, err := Open(path, o)
		if err == nil {
			s.Close()
			t.Fatalf("%s was opened", path)
		}
		return err
	}
	s, err := Open(outer, Options{})
	if err != nil {
		t.Fatal(err)
	}
	locked := &LockedError{}
	if err := refused(link, Options{}); !errors.As(err, &locked) || locked.Path != outer || locked.PID != os.Getpid() {
		t.Errorf("beneath an open store: %v", err)
	}
	s.Close()
	if s, err = Open(inner, Options{}); err != nil {
		t.Fatalf("beneath a folder that was a store: %v", err)
	}
	s.Close()
	if err := os.Mkdir(filepath.Join(outer, private), 0o755); err != nil {
		t.Fatal(err)
	}
	nested := &NestedError{}
	for _, o := range []Options{{}, {ReadOnly: true}} {
		if err := refused(link, o); !errors.As(err, &nested) || nested.Outer != outer {
			t.Errorf("beneath a store: %v", err)
		}
	}
	if s, err = Open(outer, Options{}); err != nil {
		t.Fatal(err)
	}
	s.Close()
}
