package main

import (
	"errors"
	"fmt"
	"path"
	"sort"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"excpfs/archive"
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

// stored is the size of an archive.
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

// walk calls fn for every file at or below a path, in order of names.
func walk(s *store.Store, at string, fn func(item) error) error {
	dir := s.Root()
	defer func() { dir.Release() }()
	if at == "" {
		return walkDir(dir, "", fn)
	}
	parts := strings.Split(at, "/")
	for i, name := range parts {
		e, err := lookup(dir, name, i == len(parts)-1)
		if err != nil {
			return fmt.Errorf("%s: %w", path.Join(s.Path(), at), err)
		}
		if e.Dir == nil {
			name = shownName(dir, name)
			return fn(item{dir, name, path.Join(dir.Path(), name), e})
		}
		dir.Release()
		dir = e.Dir
	}
	return walkDir(dir, at, fn)
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

func walkDir(dir *store.Dir, at string, fn func(item) error) error {
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
		if e.Dir != nil {
			err = walkDir(e.Dir, path.Join(at, d.Name), fn)
			e.Dir.Release()
		} else {
			err = fn(item{dir, d.Name, path.Join(at, d.Name), e})
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// baseOf names the file an archive is a difference to, as recorded in it.
func baseOf(s archive.Summary) string {
	for _, role := range []archive.Role{archive.RoleBase, archive.RoleWeightsBase, archive.RoleWeights} {
		for _, d := range s.Deps {
			if d.Role == role {
				return d.Hint
			}
		}
	}
	return ""
}
