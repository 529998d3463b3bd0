package store

import (
	"os"
	"path"
	"syscall"

	"excpfs/archive"

	"golang.org/x/sys/unix"
)

// NewIdentity is the identity part of a trailer for an archive in temp that will replace the plain file; plain nil: there is none.
func (s *Store) NewIdentity(plain *os.File, temp *os.File) (t archive.Trailer, err error) {
	st, err := s.host.Stat(int(temp.Fd()), "")
	if err != nil {
		return t, err
	}
	k := keyOf(&st)
	t.HostIno, t.Btime, t.Ino = k.ino, k.btime, k.fresh()
	if plain == nil {
		return t, nil
	}
	if st, err = s.host.Stat(int(plain.Fd()), ""); err != nil {
		return t, err
	}
	t.Plain, t.Ino = identityOf(&st), s.number(&st, nil)
	s.mu.Lock()
	it := s.queue.m[keyOf(&st)]
	var d *Dir
	if it != nil {
		d = it.dir.lend()
	}
	s.mu.Unlock()
	if d != nil {
		s.share()
		t.FolderMtime, err = s.folderMtime(d)
		s.ns.RUnlock()
	}
	return t, err
}

// Swap puts the finished, synced archive temp in the place of the plain file: owner, mode, ACLs, xattrs and times
// copied, then under the locks, with zero handles and the file still id: intent, rename to NAME.excp, fsync the folder,
// unlink NAME, fsync, the folder's mtime restored, intent removed. On any error the plain file is as before.
func (s *Store) Swap(p Pending, id archive.FileIdentity, temp *os.File) error {
	plain, now, err := s.OpenPlain(p)
	if err != nil {
		return err
	}
	defer plain.Close()
	if now != id {
		return ErrChanged
	}
	st, a, err := s.finish(temp, plain)
	if err != nil {
		return err
	}
	s.ns.Lock()
	defer s.ns.Unlock()
	d, name := p.Dir, p.Name
	w, err := d.find(name)
	switch {
	case err != nil:
		return err
	case w.a != nil || identityOf(&w.st) != id || w.st.Nlink > 1:
		return ErrChanged
	case !sealable(name):
		return unix.ENAMETOOLONG
	}
	ino := s.number(&w.st, nil)
	s.mu.Lock()
	n := s.nodes[ino]
	s.mu.Unlock()
	// The mount knows its own writers; others are those that a killed one left, and users of the host.
	if n != nil || s.host.Written(plain) {
		return ErrBusy
	}
	if err := s.swap(d, name, &w, st, a, temp); err != nil {
		return err
	}
	s.swapped(&w.st, st, a, ino)
	s.sweep()
	return nil
}

// swapped lets the archive have the inode number of the plain file.
func (s *Store) swapped(plain, st *unix.Statx_t, a *sealed, ino uint64) {
	s.mu.Lock()
	delete(s.alias, keyOf(plain))
	s.mu.Unlock()
	other := s.number(st, a) != ino
	s.mu.Lock()
	defer s.mu.Unlock()
	if other {
		s.alias[keyOf(st)] = ino
	}
	s.stale[ino] = struct{}{}
}

// finish gives an archive in tmp its metadata, makes it durable, and looks what it is.
func (s *Store) finish(temp, like *os.File) (*unix.Statx_t, *sealed, error) {
	c, err := s.control()
	if err != nil {
		return nil, nil, err
	}
	if like != nil {
		if err := s.host.CopyMeta(like, temp); err != nil {
			return nil, nil, err
		}
	}
	if err := s.host.Sync(temp, false); err != nil {
		return nil, nil, err
	}
	st, err := s.host.Stat(int(temp.Fd()), "")
	if err != nil {
		return nil, nil, err
	}
	a, err := s.inspect(c.tmp, path.Base(temp.Name()), temp.Name(), &st)
	if err != nil {
		return nil, nil, err
	}
	if a.err != nil || !a.is {
		return nil, nil, archive.ErrNotArchive
	}
	return &st, a, nil
}

// resolves: no base went while an archive was made. Needs ns exclusively, or one might go now.
func (s *Store) resolves(a *sealed) error {
	for _, dep := range a.summary.Deps {
		if len(s.cat.content(dep.ID)) == 0 {
			return ErrChanged
		}
	}
	return nil
}

func (s *Store) swap(d *Dir, name string, w *found, st *unix.Statx_t, a *sealed, temp *os.File) error {
	c, err := s.control()
	if err != nil {
		return err
	}
	if err := d.purge(name); err != nil {
		return err
	}
	if err := s.resolves(a); err != nil {
		return err
	}
	mtime, err := s.folderMtime(d)
	if err != nil {
		return err
	}
	tmp := spot{c.tmp, join(private, "tmp"), path.Base(temp.Name())}
	err = s.commit([]step{
		moveStep(keyOf(st), tmp, d.spot(archiveName(name))),
		syncStep(d.spot("")),
		unlinkSameStep(&w.st, d.spot(w.host)),
		syncStep(d.spot("")),
		mtimeStep(d.spot(""), mtime),
	})
	if err == nil {
		s.cat.add(knownAt(join(d.Path(), name), st, a))
	}
	return err
}

// Place puts a finished archive at a name that must not exist (pack SRC DEST), with the metadata of like.
func (s *Store) Place(d *Dir, name string, temp *os.File, like os.FileInfo) error {
	if err := d.vacant(name); err != nil {
		return err
	}
	if !sealable(name) {
		return unix.ENAMETOOLONG
	}
	if err := s.dress(temp, like); err != nil {
		return err
	}
	st, a, err := s.finish(temp, nil)
	if err != nil {
		return err
	}
	s.ns.Lock()
	defer s.ns.Unlock()
	if err := s.resolves(a); err != nil {
		return err
	}
	c, err := s.control()
	if err != nil {
		return err
	}
	if _, err := d.free(name); err != nil {
		return err
	}
	err = s.host.RenameNew(c.tmp, path.Base(temp.Name()), d.fd(), archiveName(name))
	if err != nil {
		return err
	}
	s.cat.add(knownAt(join(d.Path(), name), st, a))
	s.sweep()
	return s.host.SyncDir(d.fd())
}

// dress gives a file owner, mode and mtime of another; the set-ID bits only together with the owner.
func (s *Store) dress(f *os.File, like os.FileInfo) error {
	mode := uint32(like.Mode().Perm())
	if sys, ok := like.Sys().(*syscall.Stat_t); ok {
		mode = sys.Mode & 0o7777
		err := s.host.Fchown(f, int(sys.Uid), int(sys.Gid))
		if err == unix.EPERM {
			mode &^= setID
		} else if err != nil {
			return err
		}
	}
	if err := s.host.Fchmod(f, mode); err != nil {
		return err
	}
	mtime := like.ModTime()
	return s.host.Futimes(f, nil, &mtime)
}
