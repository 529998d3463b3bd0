package store

import (
	"fmt"
	"hash/crc32"
	"strings"
	"time"

	"excpfs/archive"
	"excpfs/host"

	"golang.org/x/sys/unix"
)

// spot is a place in the store: a held folder and a host name in it.
type spot struct {
	dir    int
	folder string // store-relative host path
	name   string
}

func (d *Dir) spot(host string) spot { return spot{d.fd(), d.hostPath(), host} }

func (p spot) String() string { return quote(p.folder) + " " + quote(p.name) }

// step is one host operation of an intent; FORMAT.md 1.3 lists them.
type step struct {
	op    string
	file  key
	same  archive.FileIdentity // unlinksame
	from  spot                 // the folder alone for sync and mtime
	to    spot                 // link, move
	mtime int64
}

func linkStep(k key, from, to spot) step { return step{op: "link", file: k, from: from, to: to} }
func moveStep(k key, from, to spot) step { return step{op: "move", file: k, from: from, to: to} }
func unlinkStep(k key, from spot) step   { return step{op: "unlink", file: k, from: from} }
func syncStep(from spot) step            { return step{op: "sync", from: from} }
func mtimeStep(p spot, ns int64) step    { return step{op: "mtime", from: p, mtime: ns} }

// unlinkSameStep spares a file that was written to.
func unlinkSameStep(st *unix.Statx_t, from spot) step {
	return step{op: "unlinksame", file: keyOf(st), same: identityOf(st), from: from}
}

func (t step) String() string {
	switch t.op {
	case "link", "move":
		return fmt.Sprintf("%s %v %v %v", t.op, t.file, t.from, t.to)
	case "unlink":
		return fmt.Sprintf("%s %v %v", t.op, t.file, t.from)
	case "unlinksame":
		return fmt.Sprintf("%s %v %d %d %d %v", t.op, t.file, t.same.Size, t.same.Mtime, t.same.Ctime, t.from)
	case "sync":
		return fmt.Sprintf("%s %s", t.op, quote(t.from.folder))
	case "mtime":
		return fmt.Sprintf("%s %s %d", t.op, quote(t.from.folder), t.mtime)
	}
	panic("store: step " + t.op)
}

func parseStep(line string) (t step, err error) {
	var file string
	op, rest, _ := strings.Cut(line, " ")
	t.op = op
	scan := func(format string, args ...any) { _, err = fmt.Sscanf(rest, format, args...) }
	switch op {
	case "link", "move":
		scan("%s %q %q %q %q", &file, &t.from.folder, &t.from.name, &t.to.folder, &t.to.name)
	case "unlink":
		scan("%s %q %q", &file, &t.from.folder, &t.from.name)
	case "unlinksame":
		scan("%s %d %d %d %q %q", &file, &t.same.Size, &t.same.Mtime, &t.same.Ctime, &t.from.folder, &t.from.name)
	case "sync":
		scan("%q", &t.from.folder)
	case "mtime":
		scan("%q %d", &t.from.folder, &t.mtime)
	default:
		err = fmt.Errorf("unknown step %q", op)
	}
	if err == nil && file != "" {
		t.file, err = parseKey(file)
	}
	if op == "unlinksame" {
		t.same.Ino = t.file.ino
	}
	return t, err
}

const intentHead = "excpfs intent 1\n"

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func formatIntent(steps []step) []byte {
	b := []byte(intentHead)
	for _, t := range steps {
		b = append(b, t.String()+"\n"...)
	}
	return fmt.Appendf(b, "end %08x\n", crc32.Checksum(b, castagnoli))
}

// parseIntent returns false for one that was not written to its end.
func parseIntent(b string) ([]step, bool, error) {
	at := strings.LastIndex(b, "end ")
	if at < 0 || b[at:] != fmt.Sprintf("end %08x\n", crc32.Checksum([]byte(b[:at]), castagnoli)) {
		return nil, false, nil
	}
	body, ok := strings.CutPrefix(b[:at], intentHead)
	if !ok {
		return nil, false, fmt.Errorf("an intent of another version of excpfs")
	}
	var steps []step
	for line := range strings.Lines(body) {
		t, err := parseStep(strings.TrimSuffix(line, "\n"))
		if err != nil {
			return nil, false, err
		}
		steps = append(steps, t)
	}
	return steps, true, nil
}

// commit carries out steps that belong together: all, or on error none. Needs ns exclusively.
func (s *Store) commit(steps []step) error {
	c, err := s.control()
	if err != nil {
		return err
	}
	// One that could not be removed must not be carried out after this one.
	if err := s.dropIntents(c); err != nil {
		return err
	}
	name := s.next()
	if err := s.writeFile(c.intents, name, formatIntent(steps)); err != nil {
		s.dropIntent(c, name)
		return err
	}
	if err := s.host.SyncDir(c.intents); err != nil {
		s.dropIntent(c, name)
		return err
	}
	err = s.carryOut(steps)
	s.dropIntent(c, name)
	return err
}

// dropIntent removes an intent, or makes it an incomplete one, or remembers it.
func (s *Store) dropIntent(c *control, name string) {
	err := s.host.Unlink(c.intents, name)
	if err == nil { // for good: carried out again, later, it would undo what came after it
		err = s.host.SyncDir(c.intents)
	}
	if err == nil || err == unix.ENOENT {
		return
	}
	s.log.Error("intent not removed", "intent", name, "reason", err)
	if f, err := s.host.Open(c.intents, name, unix.O_WRONLY|unix.O_TRUNC, 0, name); err == nil {
		f.Close()
		return
	}
	s.leftIntents = append(s.leftIntents, name)
}

// dropIntents tries again.
func (s *Store) dropIntents(c *control) error {
	for len(s.leftIntents) > 0 {
		if err := s.host.Unlink(c.intents, s.leftIntents[0]); err != nil && err != unix.ENOENT {
			return err
		}
		s.leftIntents = s.leftIntents[1:]
	}
	return nil
}

// carryOut takes back what it did if a step fails, up to the first unlink: from there on it can only go on.
func (s *Store) carryOut(steps []step) error {
	final := false
	for i, t := range steps {
		done, err := s.do(t)
		if err == nil && !done {
			err = ErrChanged
		}
		if err == nil {
			final = final || t.op == "unlink" || t.op == "unlinksame"
			continue
		}
		if !final {
			s.undo(steps, i)
			return err
		}
		s.log.Error("a step of an operation failed", "step", t.String(), "reason", err)
	}
	return nil
}

// do carries out one step; false: its condition does not hold.
func (s *Store) do(t step) (bool, error) {
	switch t.op {
	case "sync":
		return true, s.host.SyncDir(t.from.dir)
	case "mtime":
		mtime := time.Unix(0, t.mtime)
		return true, s.host.Utimes(t.from.dir, ".", nil, &mtime)
	}
	st, err := s.host.Stat(t.from.dir, t.from.name)
	if err == unix.ENOENT || err == nil && keyOf(&st) != t.file {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	switch t.op {
	case "link":
		err = s.host.Link(t.from.dir, t.from.name, t.to.dir, t.to.name)
		if err == unix.EEXIST {
			return false, nil
		}
	case "move":
		err = s.host.Rename(t.from.dir, t.from.name, t.to.dir, t.to.name, 0)
	case "unlink":
		err = s.host.Unlink(t.from.dir, t.from.name)
	case "unlinksame":
		if identityOf(&st) != t.same {
			return false, nil
		}
		err = s.host.Unlink(t.from.dir, t.from.name)
	}
	return true, err
}

// undo takes back the first n steps, and restores the folders.
func (s *Store) undo(steps []step, n int) {
	for i := n - 1; i >= 0; i-- {
		var err error
		switch t := steps[i]; t.op {
		case "link":
			err = s.host.Unlink(t.to.dir, t.to.name)
		case "move":
			err = s.host.RenameNew(t.to.dir, t.to.name, t.from.dir, t.from.name)
		}
		if err != nil {
			s.log.Error("a failed operation could not be taken back", "step", steps[i].String(), "reason", err)
		}
	}
	for _, t := range steps {
		if t.op == "mtime" {
			s.do(t)
		}
	}
}

// folderMtime is for the step that restores it.
func (s *Store) folderMtime(d *Dir) (int64, error) {
	st, err := s.host.Stat(d.fd(), "")
	return host.Nanos(st.Mtime), err
}
