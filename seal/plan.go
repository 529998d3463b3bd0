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
// nothing is there yet. The folder is the caller's to release.
func (l *Sealer) plan(src []string, dest string) (*store.Dir, []*item, error) {
	d, name, err := l.find(dest)
	rename := ""
	if errors.Is(err, fs.ErrNotExist) && len(src) == 1 {
		// The last part is the new name.
		parent, last := path.Split(path.Clean("/" + dest))
		rename = last
		d, name, err = l.find(parent)
	}
	if err == nil && name != "" {
		d.Release()
		err = fs.ErrExist
	}
	if err != nil {
		return nil, nil, err
	}
	items, err := l.collect(d, src, rename)
	if err != nil {
		d.Release()
	}
	return d, items, err
}

func (l *Sealer) collect(d *store.Dir, src []string, rename string) ([]*item, error) {
	taken := map[string]bool{}
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
		it := &item{from: abs, name: rename, info: info}
		if rename == "" {
			it.name = filepath.Base(abs)
		}
		if err := free(d, it.name); err != nil || taken[it.name] {
			return nil, fmt.Errorf("%s: %w", path.Join(d.Path(), it.name), cmp.Or(err, fs.ErrExist))
		}
		taken[it.name] = true
		if err := it.fill(); err != nil {
			return nil, err
		}
		items = append(items, it)
	}
	slices.SortStableFunc(items, byName)
	return items, nil
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
