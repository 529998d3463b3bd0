package store

import (
	"io"
	"os"
	"sync"

	"excpfs/archive"
	"excpfs/decode"

	"golang.org/x/sys/unix"
)

// node is a file that is open: what all its handles share.
type node struct {
	s    *Store
	ino  uint64
	work sync.Mutex // held while thawing

	// Guarded by s.mu.
	refs    int
	writers int
	dir     *Dir // where the file is, as far as the mount moved it
	name    string
	gone    bool // no name is left
	thawed  *thawed

	mu    sync.RWMutex
	a     *sealed
	arch  *os.File     // of a file that was opened as an archive
	dec   *decode.File // of arch, once somebody needs it
	plain *os.File     // what arch was thawed to since; wins
}

// acquire gives the node of a file, with a reference.
func (s *Store) acquire(ino uint64, d *Dir, name string) *node {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.nodes[ino]
	if n == nil {
		n = &node{s: s, ino: ino, dir: d, name: name}
		d.refs++
		s.nodes[ino] = n
	} else if name != "" { // of several links, one that is there now
		n.at(d, name)
	}
	n.refs++
	return n
}

// release gives up a reference; with the last one a file that was thawed for nothing becomes
// its archive again.
func (n *node) release() {
	s := n.s
	s.mu.Lock()
	n.refs--
	last := n.refs == 0
	if last && n.thawed == nil {
		s.forget(n)
	}
	t, waiting := n.thawed, len(s.queue.m) > 0
	s.mu.Unlock()
	if !last {
		return
	}
	if waiting { // perhaps for just this
		defer s.wake()
	}
	if t == nil {
		n.close()
		return
	}
	s.ns.Lock()
	defer s.ns.Unlock()
	s.mu.Lock()
	if n.refs > 0 || s.nodes[n.ino] != n {
		s.mu.Unlock()
		return
	}
	s.mu.Unlock()
	s.refreeze(n, t)
	s.mu.Lock()
	s.forget(n)
	s.mu.Unlock()
	n.close()
}

// forget needs s.mu.
func (s *Store) forget(n *node) {
	delete(s.nodes, n.ino)
	n.dir.drop()
}

func (n *node) close() {
	if n.dec != nil {
		n.dec.Close()
	}
	for _, f := range []*os.File{n.arch, n.plain} {
		if f != nil {
			f.Close()
		}
	}
}

// opened takes over the descriptor of the archive that was found under the node's name. It decodes
// without a lock, since that may wait for the scan, which waits for ns.
func (n *node) opened(f *os.File, a *sealed) error {
	n.mu.Lock()
	if n.arch != nil || n.plain != nil {
		f.Close()
	} else {
		n.arch, n.a = f, a
	}
	arch, ready := n.arch, n.dec != nil || n.plain != nil
	n.mu.Unlock()
	if ready {
		return nil
	}
	dec, err := n.s.decoded(arch)
	n.mu.Lock()
	defer n.mu.Unlock()
	switch {
	case n.dec != nil || n.plain != nil: // somebody was faster
		if err == nil {
			dec.Close()
		}
		return nil
	case err == nil:
		n.dec = dec
	}
	return err
}

// decoded opens what an archive stands for; f stays the caller's.
func (s *Store) decoded(f *os.File) (*decode.File, error) {
	st, err := s.host.Stat(int(f.Fd()), "")
	if err != nil {
		return nil, err
	}
	r, err := archive.Open(struct{ io.ReaderAt }{f}, int64(st.Size), f.Name())
	if err != nil {
		return nil, err
	}
	return decode.Open(r, s, s.cache)
}

// current is the content of a file opened as an archive: decoded, or what it was thawed to.
func (n *node) current() (*decode.File, *os.File) {
	n.mu.RLock()
	defer n.mu.RUnlock()
	if n.plain != nil {
		return nil, n.plain
	}
	return n.dec, nil
}

// stat is what users see of a file opened as an archive.
func (n *node) stat() (Attr, error) {
	n.mu.RLock()
	f, a := n.arch, n.a
	if n.plain != nil {
		f, a = n.plain, nil
	}
	n.mu.RUnlock()
	st, err := n.s.host.Stat(int(f.Fd()), "")
	if err != nil {
		return Attr{}, err
	}
	n.s.mu.Lock()
	if n.gone {
		st.Nlink = 0
	}
	n.s.mu.Unlock()
	at := n.s.attr(st, a)
	at.Ino = n.ino
	return at, nil
}

// moved tells the node of a file, if it is open, that its name changed.
func (s *Store) moved(ino uint64, d *Dir, name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := s.nodes[ino]; n != nil {
		n.at(d, name)
	}
}

// at needs s.mu.
func (n *node) at(d *Dir, name string) {
	d.refs++
	n.dir.drop()
	n.dir, n.name = d, name
}

// removed tells it that a name is gone; st is as before.
func (s *Store) removed(st *unix.Statx_t, a *sealed) {
	ino := s.number(st, a)
	s.mu.Lock()
	defer s.mu.Unlock()
	if st.Nlink > 1 {
		return
	}
	if n := s.nodes[ino]; n != nil {
		n.gone = true
	} else {
		delete(s.alias, keyOf(st))
		delete(s.stale, ino)
	}
}

// place is where the file is.
func (n *node) place() (d *Dir, name string, gone bool) {
	n.s.mu.Lock()
	defer n.s.mu.Unlock()
	n.dir.refs++
	return n.dir, n.name, n.gone
}
