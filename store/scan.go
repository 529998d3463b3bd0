package store

import (
	"context"
	"time"

	"excpfs/archive"
	"excpfs/host"

	"golang.org/x/sys/unix"
)

// scan fills the catalogue, then finishes swaps and removes retained archives whose time is over.
func (s *Store) scan(ctx context.Context) {
	for {
		s.cat.mu.Lock()
		moves := s.cat.moves
		s.cat.mu.Unlock()
		failed := s.scanAll(ctx)
		if failed != nil && ctx.Err() == nil {
			s.log.Error("the store could not be read completely: what is deleted is kept in .excpfs/retained", "reason", failed)
		}
		if ctx.Err() != nil {
			break
		}
		s.cat.mu.Lock()
		done := s.cat.moves == moves
		s.cat.complete = done && failed == nil // else something unseen may need what is deleted
		s.cat.scanned = time.Now()
		s.cat.mu.Unlock()
		if done {
			break
		}
	}
	if !s.readOnly && ctx.Err() == nil {
		s.finishSwaps()
		s.ns.Lock()
		s.sweep()
		s.ns.Unlock()
	}
	s.cat.once.Do(func() { close(s.cat.ready) })
}

func (s *Store) scanAll(ctx context.Context) error {
	if c := s.existing(); c != nil {
		if err := s.scanRetained(c); err != nil {
			return err
		}
	}
	return s.scanFolder(ctx, s.Root())
}

// rescan looks for archives that others put into the store meanwhile; false: it did a moment ago.
func (s *Store) rescan() bool {
	const pause = 10 * time.Second
	s.cat.mu.Lock()
	due := time.Since(s.cat.scanned) > pause
	if due {
		s.cat.scanned = time.Now()
	}
	s.cat.mu.Unlock()
	return due && s.scanAll(context.Background()) == nil
}

// scanFolder takes over d. Folders that cannot be read are told of and passed over.
func (s *Store) scanFolder(ctx context.Context, d *Dir) error {
	defer d.Release()
	s.share()
	list, err := s.host.ReadDir(d.fd())
	s.ns.RUnlock()
	if err != nil {
		return err
	}
	var failed error
	for _, e := range list {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if user, ok := archiveOf(e.Name()); ok && e.Type().IsRegular() {
			if err := s.scanFile(d, e.Name(), user); err != nil {
				failed = err
			}
		}
		if !e.IsDir() || d == s.root && e.Name() == private {
			continue
		}
		s.share()
		sub, _, err := s.folder(d, e.Name(), unesc(e.Name()))
		s.ns.RUnlock()
		if err == nil {
			err = s.scanFolder(ctx, sub)
		}
		if err != nil && err != unix.ENOENT {
			failed = err
		}
	}
	return failed
}

// scanFile enters an archive. One that is damaged needs nothing, one that cannot be read may.
func (s *Store) scanFile(d *Dir, host, user string) error {
	s.share()
	defer s.ns.RUnlock()
	st, a, err := d.archive(host)
	switch {
	case err != nil || a == nil:
		return err
	case (&found{a: a}).unread():
		return a.err
	case a.summary != nil:
		k := knownAt(join(d.Path(), user), &st, a)
		k.hidden = d.stands(user)
		s.cat.add(k)
	}
	return nil
}

func knownAt(path string, st *unix.Statx_t, a *sealed) *known {
	return &known{path: path, key: keyOf(st), summary: a.summary, mtime: host.Nanos(st.Mtime), since: host.Nanos(st.Ctime)}
}

func (s *Store) scanRetained(c *control) error {
	list, err := s.host.ReadDir(c.retained)
	if err != nil {
		return err
	}
	for _, e := range list {
		s.share()
		st, err := s.host.Stat(c.retained, e.Name())
		if err == nil {
			a, err := s.inspect(c.retained, e.Name(), join(private+"/retained", e.Name()), &st)
			if err == nil && a.summary != nil && retainedName(a.summary.ID) == e.Name() {
				k := knownAt("", &st, a)
				k.retained = true
				if s.cat.retainedAt(a.summary.ID) == nil {
					s.cat.add(k)
				}
			}
		}
		s.ns.RUnlock()
	}
	return nil
}

func (c *catalogue) retainedAt(id archive.ID) *known {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.retained[id]
}

// scanned waits until the catalogue is complete. ns must not be held.
func (s *Store) scanned(ctx context.Context) error {
	if s.readOnly {
		s.lazy.Do(func() { s.scan(context.Background()) })
	}
	select {
	case <-s.cat.ready:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
