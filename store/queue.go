package store

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"excpfs/archive"

	"golang.org/x/sys/unix"
)

// queue is the list of what was written and is not sealed, in memory. Guarded by Store.mu.
type queue struct {
	m      map[key]*item
	failed map[key]string  // state of a file that stays plain: "plain: " or "failed: " and the reason
	links  map[key][]named // of files in m or failed, where they have several
	ch     chan struct{}

	journal sync.Mutex // of the file; below s.mu
	size    int64      // of what was appended
	synced  bool
}

type item struct {
	dir     *Dir // with a reference
	name    string
	path    string // in the journal
	queued  time.Time
	settled time.Time
	sealing bool
	trouble string // with the store, at the last try
	unseen  bool   // it could not be looked at, and that was told
	// What the file was when it was opened; closed like that it leaves again. nil: it was made or written.
	before *archive.FileIdentity
}

func (q *queue) init() {
	q.m, q.failed, q.links, q.ch = map[key]*item{}, map[key]string{}, map[key][]named{}, make(chan struct{}, 1)
}

func (s *Store) wake() {
	select {
	case s.queue.ch <- struct{}{}:
	default:
	}
}

// Wake returns a channel that gets a value when the queue or an open count changes.
func (s *Store) Wake() <-chan struct{} { return s.queue.ch }

// enqueue adds a file that is being opened for writing; written: it is made or emptied by that.
// That the journal cannot be written only means that a crash forgets the file: it stays plain.
func (s *Store) enqueue(st *unix.Statx_t, d *Dir, name string, written bool) {
	k := keyOf(st)
	path := join(d.Path(), name)
	s.mu.Lock()
	it := s.queue.m[k]
	if it == nil {
		now := time.Now()
		it = &item{dir: d, name: name, queued: now, settled: now}
		if same := identityOf(st); !written {
			it.before = &same
		}
		d.refs++
		s.queue.m[k] = it
	}
	if written {
		it.before = nil
	}
	it.sealing, it.trouble = false, ""
	delete(s.queue.failed, k)
	write := it.path != path
	it.path = path
	s.mu.Unlock()
	if write {
		s.journal("+ %v %s\n", k, quote(path))
	}
	s.wake()
}

// settle notes that the last writer has closed a file.
func (s *Store) settle(st *unix.Statx_t) {
	k := keyOf(st)
	s.mu.Lock()
	it := s.queue.m[k]
	untouched := it != nil && it.before != nil && *it.before == identityOf(st)
	if it != nil {
		it.settled = time.Now()
		if !untouched {
			it.before = nil
		}
	}
	s.mu.Unlock()
	if untouched {
		s.unqueue(k)
	}
	s.wake()
}

// requeue notes a new name.
func (s *Store) requeue(k key, d *Dir, name string) {
	path := join(d.Path(), name)
	s.mu.Lock()
	it := s.queue.m[k]
	if it != nil {
		d.refs++
		it.dir.drop()
		it.dir, it.name, it.path = d, name, path
	}
	s.mu.Unlock()
	if it != nil {
		s.journal("+ %v %s\n", k, quote(path))
		s.wake()
	}
}

// queueMoved notes the new paths of files in a folder that was renamed.
func (s *Store) queueMoved() {
	var lines []string
	s.mu.Lock()
	for k, it := range s.queue.m {
		path := join(it.dir.path(func(d *Dir) string { return d.name }), it.name)
		if path != it.path {
			it.path = path
			lines = append(lines, fmt.Sprintf("+ %v %s\n", k, quote(path)))
		}
	}
	s.mu.Unlock()
	if len(lines) > 0 {
		s.journal("%s", strings.Join(lines, ""))
	}
}

func (s *Store) unqueue(k key) { s.leave(k, "") }

// leave takes a file out of the queue; stays is the state that a plain one has then.
func (s *Store) leave(k key, stays string) {
	s.mu.Lock()
	it := s.queue.m[k]
	delete(s.queue.failed, k)
	if stays != "" {
		s.queue.failed[k] = stays
	} else {
		s.forgetLinks(k)
	}
	if it != nil {
		delete(s.queue.m, k)
		it.dir.drop()
	}
	s.mu.Unlock()
	if it != nil {
		s.journal("- %v\n", k)
		s.wake()
	}
}

func (s *Store) journal(format string, args ...any) {
	c, err := s.control()
	if err == nil {
		err = s.appendQueue(c, fmt.Appendf(nil, format, args...))
	}
	if err != nil {
		s.log.Error("queue not written", "reason", err)
	}
}

// appendQueue also writes the journal anew when most of it is history.
func (s *Store) appendQueue(c *control, line []byte) error {
	q := &s.queue
	q.journal.Lock()
	defer q.journal.Unlock()
	q.synced = false
	q.size += int64(len(line))
	if err := s.host.Write(c.queue, line); err != nil {
		return err
	}
	if q.size < journalMin {
		return nil
	}
	s.mu.Lock()
	var live []byte
	for k, it := range q.m {
		live = fmt.Appendf(live, "+ %v %s\n", k, quote(it.path))
	}
	s.mu.Unlock()
	if int64(len(live))*2 > q.size {
		q.size = 0 // look again after as much
		return nil
	}
	return s.compactQueue(c, live)
}

// journalMin is how much is appended before it is worth a look.
const journalMin = 1 << 20

func (s *Store) syncQueue() error {
	c := s.existing()
	if c == nil {
		return nil
	}
	s.queue.journal.Lock()
	defer s.queue.journal.Unlock()
	if s.queue.synced {
		return nil
	}
	err := s.host.Sync(c.queue, true)
	s.queue.synced = err == nil
	return err
}

const queueMax = 256 << 20

// loadQueue reads the journal, drops what is not there any more, and writes it anew if it can be shorter.
func (s *Store) loadQueue(c *control) error {
	b, err := io.ReadAll(io.LimitReader(c.queue, queueMax))
	if err != nil {
		return err
	}
	paths, order := parseQueue(b)
	var kept []byte
	now := time.Now()
	for _, k := range order {
		folder, name := cutLast(paths[k])
		d, err := s.dirAt(folder)
		if err != nil {
			continue
		}
		w, err := d.find(name)
		if err != nil || w.a != nil || keyOf(&w.st) != k || !w.isFile() {
			d.Release()
			continue
		}
		s.queue.m[k] = &item{dir: d, name: name, path: paths[k], queued: now, settled: now}
		kept = fmt.Appendf(kept, "+ %v %s\n", k, quote(paths[k]))
	}
	if len(kept) >= len(b) {
		return nil
	}
	return s.compactQueue(c, kept)
}

func (s *Store) compactQueue(c *control, kept []byte) error {
	if err := s.writeFile(c.dir, "queue.new", kept); err != nil {
		return err
	}
	if err := s.host.Rename(c.dir, "queue.new", c.dir, "queue", 0); err != nil {
		return err
	}
	f, err := s.host.Open(c.dir, "queue", unix.O_RDWR|unix.O_APPEND, 0, "queue")
	if err != nil {
		return err
	}
	c.queue.Close()
	c.queue = f
	s.queue.size = 0
	return nil
}

// parseQueue gives the last path of each file that is queued. Lines that make no sense are passed over:
// the worst that follows is that a file stays plain.
func parseQueue(b []byte) (map[key]string, []key) {
	paths := map[key]string{}
	var order []key
	b = b[:bytes.LastIndexByte(b, '\n')+1]
	for line := range strings.Lines(string(b)) {
		var op, file, path string
		fmt.Sscanf(line, "%s %s %q\n", &op, &file, &path)
		k, err := parseKey(file)
		if err != nil {
			continue
		}
		if _, ok := paths[k]; !ok && op == "+" {
			order = append(order, k)
		}
		switch op {
		case "+":
			paths[k] = path
		case "-":
			delete(paths, k)
		}
	}
	live := order[:0]
	seen := map[key]bool{}
	for _, k := range order {
		if _, ok := paths[k]; ok && !seen[k] {
			seen[k] = true
			live = append(live, k)
		}
	}
	return paths, live
}

func (s *Store) dropQueue() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for k, it := range s.queue.m {
		it.dir.drop()
		delete(s.queue.m, k)
	}
	for k := range s.queue.links {
		s.forgetLinks(k)
	}
}

// state of a plain file for people.
func (s *Store) state(k key) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	it := s.queue.m[k]
	switch {
	case s.queue.failed[k] != "":
		return s.queue.failed[k]
	case it == nil:
		return "plain"
	case it.sealing:
		return "sealing"
	case it.trouble != "":
		return "failed: " + it.trouble
	}
	return "settling"
}
