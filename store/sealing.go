package store

import (
	"os"
	"sort"
	"time"

	"excpfs/archive"

	"golang.org/x/sys/unix"
)

// This file is what package seal works with.

// Pending is a plain file that was written through a mount and is not sealed yet.
type Pending struct {
	Dir     *Dir
	Name    string
	ID      archive.FileIdentity
	Writing bool      // open for writing at the moment
	Open    bool      // open at all
	Settled time.Time // when it was last closed or seen to change; zero while Writing
	Queued  time.Time // when it first entered the queue (in this process)
	key     key
}

// Pending lists the queue. Files that vanished have left it.
func (s *Store) Pending() []Pending {
	s.mu.Lock()
	list := make([]Pending, 0, len(s.queue.m))
	for k, it := range s.queue.m {
		list = append(list, Pending{Dir: it.dir.lend(), Name: it.name, Settled: it.settled, Queued: it.queued, key: k})
	}
	s.mu.Unlock()
	kept := list[:0]
	for _, p := range list {
		switch err := s.look(&p); err {
		case nil:
			kept = append(kept, p)
		case unix.ENOENT:
			s.unqueue(p.key)
		default:
			if s.unseen(p.key) {
				break
			}
			s.log.Warn("queued file cannot be looked at", "path", join(p.Dir.Path(), p.Name), "reason", err)
		}
	}
	sort.Slice(kept, func(i, j int) bool { return kept[i].Queued.Before(kept[j].Queued) })
	return kept
}

// unseen tells whether it was told before that a file cannot be looked at.
func (s *Store) unseen(k key) (before bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if it := s.queue.m[k]; it != nil {
		before, it.unseen = it.unseen, true
	}
	return before
}

// Again is what Pending would say of one file now; false: it is not queued any more, or under another name.
func (s *Store) Again(p Pending) (Pending, bool) {
	s.mu.Lock()
	it := s.queue.m[p.key]
	same := it != nil && it.dir == p.Dir && it.name == p.Name
	if same {
		p.Settled, p.Writing, p.Open = it.settled, false, false
	}
	s.mu.Unlock()
	return p, same && s.look(&p) == nil
}

// look fills in what the file is at the moment; ENOENT: it is gone.
func (s *Store) look(p *Pending) error {
	s.share()
	defer s.ns.RUnlock()
	s.mu.Lock()
	if it := s.queue.m[p.key]; it != nil { // it may have moved
		p.Dir, p.Name = it.dir.lend(), it.name
	}
	s.mu.Unlock()
	w, err := p.Dir.find(p.Name)
	if err != nil {
		return err
	}
	if w.a != nil || keyOf(&w.st) != p.key {
		return unix.ENOENT
	}
	p.ID = identityOf(&w.st)
	ino := s.number(&w.st, nil)
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := s.nodes[ino]; n != nil {
		p.Open, p.Writing = true, n.writers > 0
	}
	if p.Writing {
		p.Settled = time.Time{}
	} else if m := time.Unix(0, p.ID.Mtime); m.After(p.Settled) && m.Before(time.Now()) {
		p.Settled = m // written through a mapping, or on the host
	}
	return nil
}

// Enqueue adds a file (pack --in-place).
func (s *Store) Enqueue(d *Dir, name string) error {
	if s.readOnly {
		return unix.EROFS
	}
	s.share()
	defer s.ns.RUnlock()
	w, err := d.find(name)
	switch {
	case err != nil:
		return err
	case w.a != nil || !w.isFile():
		return unix.EINVAL
	}
	s.enqueue(&w.st, d, name, true)
	return nil
}

// Done takes a file out of the queue; reason "" means sealed, else why it stays plain by design (kept in
// memory and shown as user.excpfs.state "plain: reason" until it is written again).
// A file that is not p.ID any more stays in the queue.
func (s *Store) Done(p Pending, reason string) {
	if reason != "" {
		reason = "plain: " + reason
	}
	s.done(p, reason)
}

// Failed is Done for a file that stays plain because something went wrong: its state is "failed: reason".
func (s *Store) Failed(p Pending, reason string) { s.done(p, "failed: "+reason) }

func (s *Store) done(p Pending, stays string) {
	if now := p; stays != "" && s.look(&now) == nil && (now.Writing || now.ID != p.ID) {
		s.Later(p, "")
		return
	}
	s.ns.Lock()
	defer s.ns.Unlock()
	if w, err := p.Dir.find(p.Name); stays != "" && err == nil && w.a == nil && keyOf(&w.st) == p.key {
		s.linked(&w.st, p.Dir, p.Name)
	}
	s.leave(p.key, stays)
	s.sweep()
}

// Later says that a file is not worked on any more and waits again; trouble "" or what is shown
// as "failed: trouble" meanwhile.
func (s *Store) Later(p Pending, trouble string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if it := s.queue.m[p.key]; it != nil {
		it.sealing, it.trouble = false, trouble
	}
}

// Sealing marks a file as being worked on.
func (s *Store) Sealing(p Pending) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if it := s.queue.m[p.key]; it != nil {
		it.sealing = true
	}
}

// Written reports whether anybody, of the mount or not, has a file open for writing.
func (s *Store) Written(f *os.File) bool { return s.host.Written(f) }

// OpenPlain opens a pending file for reading, with its identity at that moment, without counting as a user's handle.
func (s *Store) OpenPlain(p Pending) (*os.File, archive.FileIdentity, error) {
	s.share()
	defer s.ns.RUnlock()
	w, err := p.Dir.find(p.Name)
	if err != nil {
		return nil, archive.FileIdentity{}, err
	}
	if w.a != nil || keyOf(&w.st) != p.key {
		return nil, archive.FileIdentity{}, ErrChanged
	}
	f, err := s.host.Open(p.Dir.fd(), w.host, unix.O_RDONLY, 0, join(p.Dir.Path(), p.Name))
	if err != nil {
		return nil, archive.FileIdentity{}, err
	}
	st, err := s.host.Stat(int(f.Fd()), "")
	if err == nil && keyOf(&st) != p.key {
		err = ErrChanged
	}
	if err != nil {
		f.Close()
		return nil, archive.FileIdentity{}, err
	}
	return f, identityOf(&st), nil
}
