package store

import (
	"runtime"
	"strings"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// Dir is a folder, held by descriptor; one object for each host inode. Release gives up
// one reference (Lookup, Mkdir and Root give one).
type Dir struct {
	s    *Store
	key  key
	held *dirfd
	used atomic.Bool // since closeDirs last looked

	// Guarded by s.mu.
	parent *Dir // nil: the root
	name   string
	host   string
	refs   int
	dead   bool // not in s.dirs any more
	lent   bool // given out without a reference: the garbage collector closes it
}

// folder holds the folder at a host name of parent. Needs ns.
func (s *Store) folder(parent *Dir, host, name string) (*Dir, unix.Statx_t, error) {
	fd, err := s.host.OpenDir(parent.fd(), host)
	if err != nil {
		return nil, unix.Statx_t{}, err
	}
	st, err := s.host.Stat(fd, "")
	if err != nil {
		unix.Close(fd)
		return nil, st, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if d := s.dirs[keyOf(&st)]; d != nil {
		d.held.take(fd)
		d.refs++
		if d != s.root {
			d.place(parent, host, name)
		}
		return d, st, nil
	}
	d := &Dir{s: s, held: s.dirfd(fd), key: keyOf(&st), refs: 1}
	d.place(parent, host, name)
	s.dirs[d.key] = d
	return d, st, nil
}

// place says where a folder is now. Needs s.mu.
func (d *Dir) place(parent *Dir, host, name string) {
	if d.parent != parent {
		old := d.parent
		parent.refs++
		d.parent = parent
		if old != nil {
			old.drop()
		}
	}
	d.host, d.name = host, name
}

// hold takes one more reference.
func (d *Dir) hold() *Dir {
	d.s.mu.Lock()
	d.refs++
	d.s.mu.Unlock()
	return d
}

// Release gives up a reference.
func (d *Dir) Release() {
	d.s.mu.Lock()
	d.drop()
	d.s.mu.Unlock()
}

// drop needs s.mu.
func (d *Dir) drop() {
	for d != nil {
		d.refs--
		if d.refs > 0 || d == d.s.root || d.dead {
			return
		}
		d.dead = true
		delete(d.s.dirs, d.key)
		if !d.lent {
			d.held.close()
		}
		d = d.parent
	}
}

// lend lets others use d without a reference. Needs s.mu.
func (d *Dir) lend() *Dir {
	if !d.lent && d != d.s.root {
		d.lent = true
		runtime.AddCleanup(d, (*dirfd).close, d.held)
	}
	return d
}

// Path is store-relative and as users see it; "" is the root.
func (d *Dir) Path() string {
	d.s.mu.Lock()
	defer d.s.mu.Unlock()
	return d.path(func(d *Dir) string { return d.name })
}

func (d *Dir) hostPath() string {
	d.s.mu.Lock()
	defer d.s.mu.Unlock()
	return d.path(func(d *Dir) string { return d.host })
}

// path needs s.mu.
func (d *Dir) path(name func(*Dir) string) string {
	var names []string
	for ; d.parent != nil; d = d.parent {
		names = append(names, name(d))
	}
	for i, j := 0, len(names)-1; i < j; i, j = i+1, j-1 {
		names[i], names[j] = names[j], names[i]
	}
	return strings.Join(names, "/")
}

// Attr of the folder.
func (d *Dir) Attr() (Attr, error) {
	d.s.share()
	defer d.s.ns.RUnlock()
	if err := d.there(); err != nil {
		return Attr{}, err
	}
	st, err := d.s.host.Stat(d.fd(), "")
	if err != nil {
		return Attr{}, err
	}
	return d.s.attr(st, nil), nil
}

// Dir opens the folder at a store-relative path ("": the root); the caller releases it.
func (s *Store) Dir(path string) (*Dir, error) {
	s.share()
	defer s.ns.RUnlock()
	return s.dirAt(path)
}

// dirAt is Dir. Needs ns.
func (s *Store) dirAt(path string) (*Dir, error) {
	d := s.Root()
	for name := range strings.SplitSeq(path, "/") {
		if name == "" || name == "." {
			continue
		}
		w, err := d.find(name)
		if err == nil && !w.isDir() {
			err = unix.ENOTDIR
		}
		var sub *Dir
		if err == nil {
			sub, _, err = s.folder(d, w.host, name)
		}
		d.Release()
		if err != nil {
			return nil, err
		}
		d = sub
	}
	return d, nil
}

// Fsync makes the entries of the folder durable.
func (d *Dir) Fsync() error {
	if d.s.readOnly {
		return nil
	}
	d.s.share()
	f, err := d.s.host.Open(d.fd(), ".", unix.O_RDONLY|unix.O_DIRECTORY, 0, ".")
	d.s.ns.RUnlock()
	if err != nil {
		return err
	}
	defer f.Close()
	return d.s.host.Sync(f, false)
}
