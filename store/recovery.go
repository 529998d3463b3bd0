package store

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

const intentMax = 64 << 20

// replay carries out the intents that a crash left.
func (s *Store) replay(c *control) error {
	list, err := s.host.ReadDir(c.intents)
	if err != nil {
		return err
	}
	names := make([]string, len(list))
	for i, e := range list {
		names[i] = e.Name()
	}
	slices.Sort(names)
	for _, name := range names {
		if err := s.replayOne(c, name); err != nil {
			return fmt.Errorf("intent %s: %w", name, err)
		}
	}
	return nil
}

func (s *Store) replayOne(c *control, name string) error {
	f, err := s.host.Open(c.intents, name, unix.O_RDONLY, 0, name)
	if err != nil {
		return err
	}
	b, err := io.ReadAll(io.LimitReader(f, intentMax))
	f.Close()
	if err != nil {
		return err
	}
	steps, complete, err := parseIntent(string(b))
	if err != nil {
		return err
	}
	if complete {
		s.log.Info("finishing an operation that was interrupted", "steps", len(steps))
		if err := s.redo(steps); err != nil {
			return err
		}
	}
	return s.host.Unlink(c.intents, name)
}

// redo opens the folders of the steps and carries them out. A folder that is gone took its entries with it.
func (s *Store) redo(steps []step) error {
	folders := map[string]int{}
	defer func() {
		for _, fd := range folders {
			if fd >= 0 {
				unix.Close(fd)
			}
		}
	}()
	open := func(p *spot) (err error) {
		fd, ok := folders[p.folder]
		if !ok {
			fd, err = s.walk(p.folder)
			if err == unix.ENOENT || err == unix.ENOTDIR {
				fd, err = -1, nil
			}
			folders[p.folder] = fd
		}
		p.dir = fd
		return err
	}
	for _, t := range steps {
		if err := open(&t.from); err != nil {
			return err
		}
		t.to.dir = t.from.dir
		if t.op == "link" || t.op == "move" {
			if err := open(&t.to); err != nil {
				return err
			}
		}
		if t.from.dir < 0 || t.to.dir < 0 {
			continue
		}
		if _, err := s.do(t); err != nil {
			return fmt.Errorf("%s: %w", t, err)
		}
	}
	return nil
}

// walk opens the folder at a host path.
func (s *Store) walk(path string) (int, error) {
	fd, err := s.host.OpenDir(s.root.fd(), ".")
	for name := range strings.SplitSeq(path, "/") {
		if err != nil || name == "" {
			continue
		}
		var sub int
		sub, err = s.host.OpenDir(fd, name)
		unix.Close(fd)
		fd = sub
	}
	return fd, err
}
