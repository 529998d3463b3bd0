package store

import "golang.org/x/sys/unix"

// This file brings a file back into the queue when what kept it out, its name or its other links, is gone.
// Only files that were written through a mount were ever in it.

// written tells whether a file is queued or was, and has a reason for being plain. Needs s.mu.
func (q *queue) written(k key) bool { return q.m[k] != nil || q.failed[k] != "" }

// linked notes a name of a plain file that has several.
func (s *Store) linked(st *unix.Statx_t, d *Dir, name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	k := keyOf(st)
	if st.Nlink < 2 || !s.queue.written(k) {
		return
	}
	for _, at := range s.queue.links[k] {
		if at.d == d && at.name == name {
			return
		}
	}
	d.refs++
	s.queue.links[k] = append(s.queue.links[k], named{d, name})
}

// forgetLinks needs s.mu.
func (s *Store) forgetLinks(k key) {
	for _, at := range s.queue.links[k] {
		at.d.drop()
	}
	delete(s.queue.links, k)
}

// oneLeft queues a plain file that has one name left, if that is known. Needs ns.
func (s *Store) oneLeft(k key) {
	s.mu.Lock()
	names, queued := s.queue.links[k], s.queue.m[k] != nil
	delete(s.queue.links, k)
	s.mu.Unlock()
	for _, at := range names {
		w, err := at.d.find(at.name)
		switch {
		case err != nil || w.a != nil || keyOf(&w.st) != k:
		case queued: // perhaps under the name that is gone
			s.requeue(k, at.d, at.name)
		default:
			s.enqueue(&w.st, at.d, at.name, true)
		}
		at.d.Release()
	}
}

// renamed queues a plain file that has a shorter name now.
func (s *Store) renamed(w *found, was string, to *Dir, name string) {
	k := keyOf(&w.st)
	s.linked(&w.st, to, name)
	s.mu.Lock()
	failed := s.queue.failed[k] != ""
	s.mu.Unlock()
	if failed && w.isFile() && !sealable(was) && sealable(name) {
		s.enqueue(&w.st, to, name, true)
		return
	}
	s.requeue(k, to, name)
}
