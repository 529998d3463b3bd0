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
	store string // folder of the store
	path  string // below it, as users see it; "" for the store itself
	mount string // the mount point that the argument lies in, or ""
}

// locate finds the store of a path: behind the excpfs mount it lies in, else
// the nearest folder above that holds .excpfs, else the folder itself.
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
		return place{m.store(), userPath(rel), m.point}, nil
	}
	folder := path
	if st, err := os.Lstat(path); err != nil || !st.IsDir() {
		folder = filepath.Dir(path)
	}
	root := folder
	for dir := folder; ; dir = filepath.Dir(dir) {
		if st, err := os.Lstat(filepath.Join(dir, ".excpfs")); err == nil && st.IsDir() {
			root = dir
			break
		}
		if dir == filepath.Dir(dir) {
			break
		}
	}
	if _, err := os.Stat(root); err != nil {
		return place{}, fmt.Errorf("%s does not exist", root)
	}
	rel, _ := filepath.Rel(root, path)
	return place{root, userPath(rel), ""}, nil
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
func openForReading(arg string, cache int64) (*store.Store, place, error) {
	p, err := locate(arg)
	if err != nil {
		return nil, p, err
	}
	if p.mount != "" {
		fmt.Fprintf(os.Stderr, "excpfs: %s is mounted; reading the store behind it, %s\n", p.mount, p.store)
	}
	s, err := store.Open(p.store, store.Options{ReadOnly: true, CacheSize: cache, Log: discardLog()})
	return s, p, explain(err)
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
	s, err := store.Open(p.store, store.Options{CacheSize: cache, Log: log})
	return s, p, explain(err)
}

// explain adds to an error what to do about it.
func explain(err error) error {
	var (
		locked  *store.LockedError
		version *archive.VersionError
	)
	switch {
	case err == nil:
		return nil
	case errors.As(err, &locked):
		return fmt.Errorf("%w. One process at a time writes to a store: excpfs umount its mount, or wait for it to end", err)
	case errors.As(err, &version):
		return fmt.Errorf("%w. Install a newer excpfs", err)
	case errors.Is(err, syscall.ENOSPC):
		return fmt.Errorf("%w. Free some space and run it again; files that were not compressed yet are as they were", err)
	}
	return err
}

func discardLog() *slog.Logger { return slog.New(slog.NewTextHandler(io.Discard, nil)) }
