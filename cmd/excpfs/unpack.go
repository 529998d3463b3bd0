package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"excpfs/cache"
	"excpfs/decode"
	"excpfs/store"
)

const unpackHelp = `
usage: excpfs unpack STORE/PATH... DEST

Writes files of a store, or folders with all they hold, as ordinary files to
DEST, as cp -r would: into DEST where it is a folder, else under that name.
Modes and times are kept. A file that exists at the destination is an error.

Example:
  excpfs unpack /data/store/run1/checkpoint-600 /tmp
`

func runUnpack(ctx context.Context, args []string) error {
	rest, err := parse(newFlags("unpack", unpackHelp), args, 2, -1)
	if err != nil {
		return err
	}
	sources, dest := rest[:len(rest)-1], rest[len(rest)-1]
	st, err := os.Stat(dest)
	into := err == nil && st.IsDir()
	if len(sources) > 1 && !into {
		return fmt.Errorf("%s is not a folder: make it first to unpack several things into it", dest)
	}
	for _, src := range sources {
		if err := unpack(ctx, src, dest, into); err != nil {
			return explain(err)
		}
	}
	return nil
}

func unpack(ctx context.Context, src, dest string, into bool) error {
	s, p, err := openForReading(src, 0)
	if err != nil {
		return err
	}
	defer s.Close()
	if into {
		dest = filepath.Join(dest, strings.TrimSuffix(filepath.Base(filepath.Join(p.store, p.path)), archiveSuffix))
	}
	if abs, err := resolve(dest); err == nil && inside(abs, p.store) {
		return fmt.Errorf("%s lies in the store itself: choose a folder outside it", dest)
	}
	u := unpacker{s: s, cache: cache.New(verifyCache), progress: newProgress("unpack", 0)}
	defer u.progress.end()
	return walk(s, p.path, func(t item) error {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		rel := strings.TrimPrefix(strings.TrimPrefix(t.path, strings.TrimSuffix(p.path, archiveSuffix)), "/")
		return u.file(t, filepath.Join(dest, path.Clean("/"+rel)))
	})
}

type unpacker struct {
	s        *store.Store
	cache    *cache.Cache
	progress *progress
}

func (u *unpacker) file(t item, to string) error {
	if err := os.MkdirAll(filepath.Dir(to), 0o777); err != nil {
		return err
	}
	switch t.entry.Attr.Mode & unix.S_IFMT {
	case unix.S_IFLNK:
		target, err := t.dir.Readlink(t.name)
		if err != nil {
			return err
		}
		return os.Symlink(target, to)
	case unix.S_IFREG:
		if err := u.regular(t, to); err != nil {
			return fmt.Errorf("%s: %w", t.path, err)
		}
		u.progress.add(t.path, t.logical())
	}
	return nil
}

// regular writes to a temporary name, so that what has the real one is whole.
func (u *unpacker) regular(t item, to string) error {
	if _, err := os.Lstat(to); err == nil {
		return fmt.Errorf("%s exists: remove it, or unpack to another folder", to)
	}
	src, size, done, err := u.open(t)
	if err != nil {
		return err
	}
	defer done()
	tmp, err := os.CreateTemp(filepath.Dir(to), ".excpfs-unpack-")
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	defer tmp.Close()
	a := t.entry.Attr
	if _, err := io.CopyBuffer(struct{ io.Writer }{tmp}, io.NewSectionReader(src, 0, size), make([]byte, 4<<20)); err != nil {
		return err
	}
	mtime := time.Unix(a.Mtime.Sec, int64(a.Mtime.Nsec))
	err = errors.Join(tmp.Chmod(os.FileMode(a.Mode&0o777)), tmp.Close(), os.Chtimes(tmp.Name(), mtime, mtime))
	if err != nil {
		return err
	}
	return os.Rename(tmp.Name(), to)
}

// open gives the content of a file of either form.
func (u *unpacker) open(t item) (io.ReaderAt, int64, func(), error) {
	if t.entry.Form == store.Plain {
		h, err := t.dir.Open(t.name, unix.O_RDONLY)
		if err != nil {
			return nil, 0, nil, err
		}
		return h, t.logical(), h.Release, nil
	}
	r, err := u.s.OpenArchive(t.path)
	if err != nil {
		return nil, 0, nil, err
	}
	f, err := decode.Open(r, u.s, u.cache)
	if err != nil {
		return nil, 0, nil, err
	}
	return f, f.Size(), func() { f.Close() }, nil
}
