package seal

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"excpfs/store"
)

// item is a file, folder or symlink outside the store, to be packed under name.
type item struct {
	from  string
	name  string
	info  fs.FileInfo
	items []*item // of a folder, in natural order
}

// plan lists what Pack would write into which folder of the store, having checked that
// nothing is there yet, and makes that folder. It is the caller's to release.
func (l *Sealer) plan(src []string, dest string) (*store.Dir, []*item, error) {
	items, err := l.collect(src)
	if err != nil {
		return nil, nil, err
	}
	d, missing, err := l.reach(dest)
	if err != nil {
		return nil, nil, err
	}
	if n := len(missing); n > 0 && len(items) == 1 {
		items[0].name, missing = missing[n-1], missing[:n-1] // the new name
	}
	if err := vacant(d, items, len(missing) > 0); err != nil {
		d.Release()
		return nil, nil, err
	}
	for _, name := range missing {
		e, err := d.Mkdir(name, 0o755, store.Caller{UID: uint32(os.Geteuid()), GID: uint32(os.Getegid())})
		d.Release()
		if err != nil {
			return nil, nil, fmt.Errorf("%s: %w", name, err)
		}
		d = e.Dir
	}
	return d, items, nil
}

// reach gives the last folder that exists on the way to a path, and the names from there on.
func (l *Sealer) reach(p string) (*store.Dir, []string, error) {
	d := l.s.Root()
	names := strings.FieldsFunc(path.Clean("/"+p), func(r rune) bool { return r == '/' })
	for i, name := range names {
		e, err := d.Lookup(name)
		if errors.Is(err, fs.ErrNotExist) {
			return d, names[i:], nil
		}
		if err == nil && e.Dir == nil {
			err = fmt.Errorf("%s is no folder: %w", path.Join(d.Path(), name), fs.ErrExist)
		}
		d.Release()
		if err != nil {
			return nil, nil, err
		}
		d = e.Dir
	}
	return d, nil, nil
}

// collect lists the sources with all they hold.
func (l *Sealer) collect(src []string) ([]*item, error) {
	var items []*item
	for _, s := range src {
		abs, err := filepath.Abs(s)
		if err != nil {
			return nil, err
		}
		if inside(abs, l.s.Path()) || inside(l.s.Path(), abs) {
			return nil, fmt.Errorf("%s is part of the store: use --in-place, or the mount", s)
		}
		info, err := os.Stat(abs)
		if err != nil {
			return nil, err
		}
		it := &item{from: abs, name: filepath.Base(abs), info: info}
		if err := it.fill(); err != nil {
			return nil, err
		}
		items = append(items, it)
	}
	slices.SortStableFunc(items, byName)
	return items, nil
}

// vacant checks that the items have different names, and that the folder, unless it is yet to be made, has none of them.
func vacant(d *store.Dir, items []*item, unmade bool) error {
	taken := map[string]bool{}
	for _, it := range items {
		var err error
		if !unmade {
			err = free(d, it.name)
		}
		if err != nil || taken[it.name] {
			return fmt.Errorf("%s: %w", path.Join(d.Path(), it.name), cmp.Or(err, fs.ErrExist))
		}
		taken[it.name] = true
	}
	return nil
}

func byName(a, b *item) int { return natural(a.name, b.name) }

// free says whether a name may be made.
func free(d *store.Dir, name string) error {
	e, err := d.Lookup(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case e.Dir != nil:
		e.Dir.Release()
	}
	return fs.ErrExist
}

// inside: a is b or beneath it.
func inside(a, b string) bool {
	return a == b || strings.HasPrefix(a, strings.TrimSuffix(b, "/")+"/")
}

// fill lists a folder, recursively.
func (it *item) fill() error {
	switch {
	case it.info.Mode().IsRegular() || it.info.Mode()&fs.ModeSymlink != 0:
		return nil
	case !it.info.IsDir():
		return fmt.Errorf("%s is neither file, folder nor symlink", it.from)
	}
	entries, err := os.ReadDir(it.from)
	if err != nil {
		return err
	}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			return err
		}
		sub := &item{from: filepath.Join(it.from, e.Name()), name: e.Name(), info: info}
		if err := sub.fill(); err != nil {
			return err
		}
		it.items = append(it.items, sub)
	}
	slices.SortFunc(it.items, byName)
	return nil
}
