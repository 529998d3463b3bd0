package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"excpfs/archive"
	"excpfs/cache"
	"excpfs/decode"
	"excpfs/store"
)

const unpackHelp = `
usage: excpfs unpack STORE/PATH... DEST

Writes files of a store, or folders with all they hold, as ordinary files to
DEST, as cp -r would: into DEST where it is a folder, else under that name.
Modes, times, ACLs and user xattrs are kept, owners too for root. A file that
exists at the destination is an error. A damaged file is told of and left out;
all others are written, and the exit code is 3.

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
	damaged := 0
	for _, src := range sources {
		n, err := unpack(ctx, src, dest, into)
		if err != nil {
			return explain(err)
		}
		damaged += n
	}
	if damaged > 0 {
		return fmt.Errorf("%w: %d files were left out, all others are written", errDamaged, damaged)
	}
	return nil
}

// unpack returns how many files are damaged.
func unpack(ctx context.Context, src, dest string, into bool) (int, error) {
	s, p, err := openForReading(src)
	if err != nil {
		return 0, err
	}
	defer s.Close()
	if into {
		dest = filepath.Join(dest, strings.TrimSuffix(filepath.Base(filepath.Join(p.store, p.path)), archiveSuffix))
	}
	if abs, err := resolve(dest); err == nil && inside(abs, p.store) {
		return 0, fmt.Errorf("%s lies in the store itself: choose a folder outside it", dest)
	}
	t, err := find(s, p.path)
	if err != nil {
		return 0, err
	}
	defer t.dir.Release()
	if err := os.MkdirAll(filepath.Dir(dest), 0o777); err != nil {
		return 0, err
	}
	files, total, err := count(s, p.path, item.isRegular)
	if err != nil {
		return 0, err
	}
	u := unpacker{ctx: ctx, s: s, cache: cache.New(verifyCache), progress: newProgress("unpack", total)}
	defer u.progress.end()
	u.progress.of(files)
	err = u.item(t, dest)
	return u.damaged, err
}

type unpacker struct {
	ctx      context.Context
	s        *store.Store
	cache    *cache.Cache
	progress *progress
	damaged  int
}

// item writes one thing. Faults of the source are told and counted; an error ends it all.
func (u *unpacker) item(t item, to string) error {
	if u.ctx.Err() != nil {
		return context.Cause(u.ctx)
	}
	if t.entry.Dir != nil {
		return u.folder(t, to)
	}
	if _, err := os.Lstat(to); err == nil {
		return fmt.Errorf("%s exists: remove it, or unpack to another folder", to)
	}
	switch t.entry.Attr.Mode & unix.S_IFMT {
	case unix.S_IFLNK:
		return u.symlink(t, to)
	case unix.S_IFREG:
		err := u.regular(t, to)
		if fault, ok := errors.AsType[*sourceError](err); ok {
			u.damaged++
			u.progress.say("%s", fault.about(t.path))
			return nil
		}
		u.progress.add(t.path, 0)
		return err
	}
	u.progress.say("%s is neither file, folder nor symlink: left out", t.path)
	return nil
}

// folder gets its metadata last: writing into it changes its times, and its mode may forbid it.
func (u *unpacker) folder(t item, to string) error {
	err := os.Mkdir(to, 0o700)
	made := err == nil
	if st, serr := os.Stat(to); err != nil && (serr != nil || !st.IsDir()) {
		return err
	}
	err = children(t.entry.Dir, t.path, func(sub item) error { return u.item(sub, filepath.Join(to, sub.name)) })
	if err != nil || !made {
		return err
	}
	return dress(to, t)
}

func (u *unpacker) symlink(t item, to string) error {
	target, err := t.dir.Readlink(t.name)
	if err != nil {
		return fmt.Errorf("%s: %w", t.path, err)
	}
	if err := os.Symlink(target, to); err != nil {
		return err
	}
	return dress(to, t)
}

// regular writes to a temporary name, so that what has the real one is whole.
func (u *unpacker) regular(t item, to string) error {
	src, size, done, err := u.open(t)
	if err != nil {
		return faulty(err)
	}
	defer done()
	tmp, err := os.CreateTemp(filepath.Dir(to), ".excpfs-unpack-")
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	defer tmp.Close()
	n, err := io.CopyBuffer(u.progress.through(tmp), sourceReader{io.NewSectionReader(src, 0, size)}, make([]byte, 4<<20))
	if err == nil && n < size {
		err = fmt.Errorf("%s has become shorter meanwhile: %w", t.path, io.ErrUnexpectedEOF)
	}
	if err != nil {
		return err
	}
	if err := errors.Join(tmp.Close(), dress(tmp.Name(), t)); err != nil {
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

// sourceError is damage of one file, after which the next is unpacked.
type sourceError struct{ err error }

func (e *sourceError) Error() string { return e.err.Error() }
func (e *sourceError) Unwrap() error { return e.err }

// about names the file; the error may name another, that it needs.
func (e *sourceError) about(name string) string {
	if text := e.Error(); strings.HasPrefix(text, name+":") {
		return text
	}
	return name + ": " + e.Error()
}

// faulty sorts out what is damage.
func faulty(err error) error {
	var (
		damage  *archive.DamageError
		missing *archive.MissingError
	)
	if errors.As(err, &damage) || errors.As(err, &missing) || errors.Is(err, archive.ErrNotArchive) || errors.Is(err, unix.EIO) {
		return &sourceError{err}
	}
	return err
}

type sourceReader struct{ io.Reader }

func (r sourceReader) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	return n, faulty(err)
}
