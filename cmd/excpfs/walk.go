package main

import (
	"cmp"
	"errors"
	"fmt"
	"path"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"excpfs/store"
)

// item is a file met by walk. dir is only valid during the call.
type item struct {
	dir        *store.Dir
	name, path string
	entry      store.Entry
}

func (t item) logical() int64 { return int64(t.entry.Attr.Size) }

func (t item) isRegular() bool { return t.entry.Attr.Mode&unix.S_IFMT == unix.S_IFREG }

// stored is what a file takes on disk: the size of an archive, the blocks of a plain file.
func (t item) stored() int64 {
	if n, err := strconv.ParseInt(t.attr("stored"), 10, 64); err == nil {
		return n
	}
	return int64(t.entry.Attr.Blocks) * 512
}

// attr reads a virtual xattr of a file, "" if it has none.
func (t item) attr(name string) string {
	v, err := t.dir.Getxattr(t.name, "user.excpfs."+name)
	if err != nil {
		return ""
	}
	return string(v)
}

// state asks a mount of the store, where point is one: what waits is known there only.
func (t item) state(point string) string {
	var state string
	if point != "" {
		state = stateOf(filepath.Join(point, t.path))
	}
	return cmp.Or(state, t.attr("state"), "plain")
}

// walk calls fn for every file at or below a path, in order of names.
func walk(s *store.Store, at string, fn func(item) error) error {
	t, err := find(s, at)
	if err != nil {
		return err
	}
	defer t.dir.Release()
	return walkItem(t, fn)
}

func walkItem(t item, fn func(item) error) error {
	if t.entry.Dir == nil {
		return fn(t)
	}
	return children(t.entry.Dir, t.path, func(sub item) error { return walkItem(sub, fn) })
}

// find gives what is at a path. Its dir, which of a folder is the folder itself, is the caller's to release.
func find(s *store.Store, at string) (item, error) {
	dir := s.Root()
	t := item{dir: dir, entry: store.Entry{Dir: dir}}
	var err error
	if t.entry.Attr, err = dir.Attr(); err != nil || at == "" {
		return t, err
	}
	parts := strings.Split(at, "/")
	for i, name := range parts {
		e, err := lookup(dir, name, i == len(parts)-1)
		if err != nil {
			dir.Release()
			return t, fmt.Errorf("%s: %w", path.Join(s.Path(), at), err)
		}
		if e.Dir == nil {
			name = shownName(dir, name)
			return item{dir, name, path.Join(dir.Path(), name), e}, nil
		}
		dir.Release()
		dir = e.Dir
		t = item{dir: dir, path: at, entry: e}
	}
	return t, nil
}

// count is how many of the files at or below a path there are, and their size.
func count(s *store.Store, at string, which func(item) bool) (files int, bytes int64, err error) {
	err = walk(s, at, func(t item) error {
		if which(t) {
			files++
			bytes += t.logical()
		}
		return nil
	})
	return files, bytes, err
}

// lookup also finds a sealed file by the name it has in the store, NAME.excp.
func lookup(dir *store.Dir, name string, last bool) (store.Entry, error) {
	e, err := dir.Lookup(name)
	if shown, ok := strings.CutSuffix(name, archiveSuffix); ok && last && errors.Is(err, syscall.ENOENT) {
		if sealed, err := dir.Lookup(shown); err == nil && sealed.Form == store.Sealed {
			return sealed, nil
		}
	}
	return e, err
}

const archiveSuffix = ".excp"

// shownName is the name under which lookup found a file.
func shownName(dir *store.Dir, name string) string {
	if _, err := dir.Lookup(name); err == nil {
		return name
	}
	return strings.TrimSuffix(name, archiveSuffix)
}

// children calls fn for all that a folder holds, in order of names.
func children(dir *store.Dir, at string, fn func(item) error) error {
	entries, err := dir.ReadDir()
	if err != nil {
		return fmt.Errorf("%s: %w", at, err)
	}
	sort.Slice(entries, func(i, j int) bool { return entries[i].Name < entries[j].Name })
	for _, d := range entries {
		e, err := dir.Lookup(d.Name)
		if errors.Is(err, syscall.ENOENT) {
			continue // gone meanwhile
		}
		if err != nil {
			return fmt.Errorf("%s: %w", path.Join(at, d.Name), err)
		}
		err = fn(item{dir, d.Name, path.Join(at, d.Name), e})
		if e.Dir != nil {
			e.Dir.Release()
		}
		if err != nil {
			return err
		}
	}
	return nil
}
