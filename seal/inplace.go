package seal

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"

	"golang.org/x/sys/unix"

	"excpfs/store"
)

// InPlace seals the plain files under a store-relative path (pack --in-place). Folders go in
// natural order, so that checkpoint-600 finds checkpoint-500 sealed; files that are sealed are left.
func (l *Sealer) InPlace(ctx context.Context, p string) error {
	if err := l.enter(ctx); err != nil {
		return err
	}
	defer l.leave()
	d, name, err := l.find(p)
	if err != nil {
		return fmt.Errorf("pack %s: %w", l.shown(p), err)
	}
	defer d.Release()
	l.fitted = false
	if name != "" {
		err = l.inPlaceFiles(ctx, d, []string{name})
	} else {
		err = l.inPlace(ctx, d)
	}
	return errors.Join(err, l.baseUsed())
}

// baseUsed complains of a given base that fitted nothing.
func (l *Sealer) baseUsed() error {
	if l.o.Base != "" && !l.fitted {
		return fmt.Errorf("base %s: no file has its tensors", l.o.Base)
	}
	return nil
}

// find gives the folder at a path, or the folder and the name of a file. The folder is
// the caller's to release.
func (l *Sealer) find(p string) (*store.Dir, string, error) {
	p = path.Clean("/" + p)[1:]
	d, err := l.s.Dir(p)
	if err == nil || p == "" {
		return d, "", err
	}
	folder, name := path.Split(p)
	d, perr := l.s.Dir(path.Clean("/" + folder)[1:])
	if perr != nil {
		return nil, "", perr
	}
	if _, lerr := d.Lookup(name); lerr != nil {
		d.Release()
		return nil, "", lerr
	}
	return d, name, nil
}

// inPlace seals a folder's files, then those of the folders in it.
func (l *Sealer) inPlace(ctx context.Context, d *store.Dir) error {
	entries, err := d.ReadDir()
	if err != nil {
		return fmt.Errorf("pack %s: %w", l.shown(d.Path()), err)
	}
	slices.SortFunc(entries, func(a, b store.DirEntry) int { return natural(a.Name, b.Name) })
	var names []string
	for _, e := range entries {
		if e.Mode&unix.S_IFMT == unix.S_IFREG {
			names = append(names, e.Name)
		}
	}
	errs := []error{l.inPlaceFiles(ctx, d, names)}
	for _, e := range optimizersLast(entries, func(e store.DirEntry) string { return e.Name }) {
		if e.Mode&unix.S_IFMT != unix.S_IFDIR {
			continue
		}
		if ctx.Err() != nil {
			break
		}
		sub, err := d.Lookup(e.Name)
		if err == nil && sub.Dir != nil {
			err = l.inPlace(ctx, sub.Dir)
			sub.Dir.Release()
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// inPlaceFiles queues the plain tensor files of a folder and works on them at once.
func (l *Sealer) inPlaceFiles(ctx context.Context, d *store.Dir, names []string) error {
	queued := map[string]bool{}
	for _, name := range names {
		if e, err := d.Lookup(name); err != nil || e.Form == store.Sealed || !isTensorFile(d, name) {
			continue
		}
		if err := l.s.Enqueue(d, name); err != nil {
			return fmt.Errorf("pack %s: %w", path.Join(d.Path(), name), err)
		}
		queued[name] = true
	}
	if len(queued) == 0 {
		return ctx.Err()
	}
	var job []store.Pending
	for _, p := range l.s.Pending() {
		if p.Dir == d && queued[p.Name] {
			job = append(job, p)
		}
	}
	errs := []error{}
	for _, o := range l.work(ctx, job) {
		switch {
		case o.Err != nil:
			errs = append(errs, o.Err)
		case o.again:
			errs = append(errs, fmt.Errorf("%s: in use", o.Path))
		}
	}
	return errors.Join(append(errs, ctx.Err())...)
}

// isTensorFile: other files are nothing to tell of, here.
func isTensorFile(d *store.Dir, name string) bool {
	src, _, err := peek(d, name)
	if err != nil {
		return false
	}
	src.Close()
	return true
}
