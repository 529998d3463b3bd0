package main

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"syscall"

	"excpfs/archive"
	"excpfs/store"
)

// place is an argument STORE/PATH taken apart.
type place struct {
	arg   string // as given to openForReading
	store string // folder of the store
	path  string // below it, as users see it; "" for the store itself
	mount string // the mount point that the argument lies in, or ""
	fresh bool   // the folder is no store yet
}

// locate finds the store of a path: behind the excpfs mount it lies in, else a store above
// it, else the folder itself or, of what is none, the nearest one above.
func locate(arg string) (place, error) {
	path, err := resolve(arg)
	if err != nil {
		return place{}, err
	}
	if m, ok := mountOf(path); ok {
		if m.dead() {
			return place{}, deadError(m.point)
		}
		rel, _ := filepath.Rel(m.point, path)
		return place{store: m.store(), path: userPath(rel), mount: m.point}, nil
	}
	root, ok := storeAbove(path)
	if !ok {
		root = nearestFolder(path)
	}
	rel, _ := filepath.Rel(root, path)
	_, err = os.Lstat(filepath.Join(root, ".excpfs"))
	return place{store: root, path: userPath(rel), fresh: err != nil}, nil
}

// storeAbove finds the store that a path lies in: that of a live mount, else the outermost
// folder with .excpfs, as a store is never part of another.
func storeAbove(path string) (root string, ok bool) {
	if root, ok = mountedStore(path); ok {
		return root, true
	}
	for dir := path; ; dir = filepath.Dir(dir) {
		if st, err := os.Lstat(filepath.Join(dir, ".excpfs")); err == nil && st.IsDir() {
			root, ok = dir, true
		}
		if dir == filepath.Dir(dir) {
			return root, ok
		}
	}
}

func nearestFolder(path string) string {
	for ; path != filepath.Dir(path); path = filepath.Dir(path) {
		if st, err := os.Stat(path); err == nil && st.IsDir() {
			break
		}
	}
	return path
}

func userPath(rel string) string {
	if rel == "." {
		return ""
	}
	return rel
}

func deadError(point string) error {
	return fmt.Errorf("the mount at %s is dead: its daemon is gone. Nothing in the store is lost; excpfs umount %s clears the place", point, point)
}

// openForReading opens the store of a path without its lock.
func openForReading(arg string) (*store.Store, place, error) {
	p, err := locate(arg)
	if err != nil {
		return nil, p, err
	}
	p.arg = arg
	if p.fresh {
		if _, err := os.Lstat(filepath.Join(p.store, p.path)); err != nil {
			return nil, p, fmt.Errorf("%s does not exist", arg)
		}
	}
	if p.mount != "" {
		fmt.Fprintf(os.Stderr, "excpfs: %s is mounted; reading the store behind it, %s\n", p.mount, p.store)
	}
	s, err := store.Open(p.store, store.Options{ReadOnly: true, Log: discardLog()})
	return s, p, explain(err)
}

// openNamed is openForReading of a verb's only argument.
func openNamed(f *flagSet, args []string) (*store.Store, place, error) {
	rest, err := parse(f, args, 1, 1)
	if err != nil {
		return nil, place{}, err
	}
	return openForReading(rest[0])
}

// openForWriting opens the store of a path as its only writer.
func openForWriting(arg string, cache int64, log *slog.Logger) (*store.Store, place, error) {
	p, err := locate(arg)
	if err != nil {
		return nil, p, err
	}
	if p.mount != "" {
		return nil, p, fmt.Errorf("%s lies in the mount %s. What is copied into a mount is compressed by itself: "+
			"use cp and excpfs wait, or excpfs umount %s first", arg, p.mount, p.mount)
	}
	if p.fresh && p.store == "/" {
		return nil, p, fmt.Errorf("no folder of %s exists: make the store first (mkdir -p)", arg)
	}
	if inner, ok := mountBelow(p.store); ok {
		return nil, p, fmt.Errorf("%s, which is mounted at %s, lies in %s: excpfs umount %s first", inner.source, inner.point, p.store, inner.point)
	}
	s, err := store.Open(p.store, store.Options{CacheSize: cache, Log: log})
	return s, p, explain(err)
}

// explain adds to an error what to do about it.
func explain(err error) error {
	var (
		locked  *store.LockedError
		nested  *store.NestedError
		version *archive.VersionError
	)
	switch {
	case err == nil:
		return nil
	case errors.As(err, &locked):
		return fmt.Errorf("%w. One process at a time writes to a store: excpfs umount its mount, or wait for it to end", err)
	case errors.As(err, &nested):
		return fmt.Errorf("%w. Use %s instead", err, nested.Outer)
	case errors.As(err, &version):
		return fmt.Errorf("%w. Install a newer excpfs", err)
	case errors.Is(err, syscall.ENOSPC):
		return fmt.Errorf("%w. Free some space and run it again; files that were not compressed yet are as they were", err)
	}
	return err
}

func discardLog() *slog.Logger { return slog.New(slog.NewTextHandler(io.Discard, nil)) }
