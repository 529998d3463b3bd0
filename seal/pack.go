package seal

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"

	"excpfs/archive"
	"excpfs/store"
)

// Pack compresses files or folders outside the store to a destination in it, without copying them in first.
// As with cp, the destination is a folder or, of one source, the new name; missing folders are made.
// Nothing is written where something exists already; what is no tensor file is copied.
func (l *Sealer) Pack(ctx context.Context, src []string, dest string) error {
	if err := l.enter(ctx); err != nil {
		return err
	}
	defer l.leave()
	d, items, err := l.plan(src, dest)
	if err != nil {
		return fmt.Errorf("pack to %s: %w", l.shown(dest), err)
	}
	defer d.Release()
	l.fitted = false
	if err := l.packAll(ctx, d, items); err != nil {
		return fmt.Errorf("pack to %s: %w", l.shown(dest), err)
	}
	return l.baseUsed()
}

// shown is a store-relative path for a message: that of the root is empty.
func (l *Sealer) shown(p string) string { return path.Join(l.s.Path(), p) }

// packAll packs the files of a folder, weights first, then the folders.
func (l *Sealer) packAll(ctx context.Context, d *store.Dir, items []*item) error {
	if err := l.packFiles(ctx, d, items); err != nil {
		return err
	}
	for _, it := range optimizersLast(items, func(it *item) string { return it.name }) {
		var err error
		switch {
		case it.info.IsDir():
			err = l.packFolder(ctx, d, it)
		case it.info.Mode()&os.ModeSymlink != 0:
			err = packSymlink(d, it)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (l *Sealer) packFolder(ctx context.Context, d *store.Dir, it *item) error {
	e, err := d.Mkdir(it.name, mode(it.info)&0o777|0o700, owner(it.info)) // the rest in the end
	if err != nil {
		return fmt.Errorf("%s: %w", path.Join(d.Path(), it.name), err)
	}
	defer e.Dir.Release()
	if err := l.packAll(ctx, e.Dir, it.items); err != nil {
		return err
	}
	if err := dress(store.File{Dir: e.Dir}, it); err != nil {
		return fmt.Errorf("%s: %w", e.Dir.Path(), err)
	}
	return nil
}

func packSymlink(d *store.Dir, it *item) error {
	target, err := os.Readlink(it.from)
	if err != nil {
		return err
	}
	if _, err = d.Symlink(it.name, target, owner(it.info)); err != nil {
		return fmt.Errorf("%s: %w", path.Join(d.Path(), it.name), err)
	}
	_, err = d.SetAttr(it.name, ownerAndTime(it))
	return err
}

// owner of what is made: that of the source, where we may give files away.
func owner(fi os.FileInfo) store.Caller {
	if st, ok := fi.Sys().(*syscall.Stat_t); ok && os.Geteuid() == 0 {
		return store.Caller{UID: st.Uid, GID: st.Gid}
	}
	return store.Caller{UID: uint32(os.Geteuid()), GID: uint32(os.Getegid())}
}

func (l *Sealer) packFiles(ctx context.Context, d *store.Dir, items []*item) error {
	f := l.folder(d)
	defer f.close()
	of := map[*unit]*item{}
	for _, it := range items {
		if !it.info.Mode().IsRegular() {
			continue
		}
		u, err := l.outside(d, it)
		if reason, ok := errors.AsType[stays](err); ok {
			err = l.copyIn(ctx, d, it, string(reason))
		}
		if err != nil {
			return err
		}
		if u != nil {
			f.units = append(f.units, u)
			of[u] = it
		}
	}
	slices.SortStableFunc(f.units, weightsFirst)
	for _, u := range f.units {
		if err := l.packUnit(ctx, f, u, of[u]); err != nil {
			return err
		}
	}
	return nil
}

// outside makes a unit of a file outside the store.
func (l *Sealer) outside(d *store.Dir, it *item) (*unit, error) {
	src, err := os.Open(it.from)
	if err != nil {
		return nil, err
	}
	layout, err := parse(src, it.info.Size(), it.name, hostBeside(filepath.Dir(it.from)))
	if err != nil {
		src.Close()
		return nil, err
	}
	u := &unit{dir: d, name: it.name, src: src, layout: layout, mtime: it.info.ModTime().UnixNano()}
	u.trailer = func(temp *os.File) (archive.Trailer, error) { return l.s.NewIdentity(nil, temp) }
	u.finish = func(temp *os.File) error {
		if err := copyXattrsTo(temp, it.from); err != nil {
			return err
		}
		return l.s.Place(d, it.name, temp, it.info)
	}
	return u, nil
}

func (l *Sealer) packUnit(ctx context.Context, f *folder, u *unit, it *item) error {
	size, err := l.packOne(ctx, f, u, it)
	if reason, ok := errors.AsType[stays](err); ok {
		return l.copyIn(ctx, u.dir, it, string(reason))
	}
	if err != nil {
		return fmt.Errorf("%s: %w", u.path(), err)
	}
	l.tell(Event{Path: u.path(), Logical: u.layout.Size, Stored: size})
	return nil
}

func (l *Sealer) packOne(ctx context.Context, f *folder, u *unit, it *item) (stored int64, err error) {
	d, err := l.draft(ctx, f, u)
	if err != nil {
		return 0, err
	}
	defer l.s.Discard(d.temp)
	if changed(it) {
		return 0, fmt.Errorf("%s changed while it was packed", it.from)
	}
	return d.size, u.place(d)
}

func changed(it *item) bool {
	now, err := os.Stat(it.from)
	return err != nil || now.Size() != it.info.Size() || !now.ModTime().Equal(it.info.ModTime())
}

// copyIn copies a file that stays plain.
func (l *Sealer) copyIn(ctx context.Context, d *store.Dir, it *item, reason string) error {
	name := path.Join(d.Path(), it.name)
	src, err := os.Open(it.from)
	if err != nil {
		return err
	}
	defer src.Close()
	_, h, err := d.Create(it.name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL, 0o600, owner(it.info))
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	err = copyAll(ctx, &handleWriter{h: h}, src)
	if err == nil {
		err = dress(h, it)
	}
	if err == nil {
		err = h.Fsync(false)
	}
	h.Release()
	for _, p := range l.s.Pending() {
		if p.Dir == d && p.Name == it.name {
			l.s.Done(p, reason)
		}
	}
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	l.tell(Event{Path: name, Logical: it.info.Size(), Reason: reason})
	return nil
}

// handleWriter writes a handle from its beginning.
type handleWriter struct {
	h  *store.Handle
	at int64
}

func (w *handleWriter) Write(p []byte) (int, error) {
	n, err := w.h.WriteAt(p, w.at)
	w.at += int64(n)
	if err == nil && n < len(p) {
		err = io.ErrShortWrite
	}
	return n, err
}
