package store

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strconv"
	"time"

	"excpfs/host"

	"golang.org/x/sys/unix"
)

// control is .excpfs, open.
type control struct {
	id                          string
	dir, tmp, intents, retained int // O_PATH
	queue                       *os.File
}

const formatVersion = 1

// openControl opens .excpfs; nil if there is none, or only the beginnings of one.
func (s *Store) openControl() (*control, error) {
	dir, err := s.host.OpenDir(s.root.fd(), private)
	if err == unix.ENOENT {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", private, err)
	}
	c := &control{dir: dir, tmp: -1, intents: -1, retained: -1}
	if err := s.fillControl(c); err != nil {
		c.close()
		if errors.Is(err, unix.ENOENT) {
			return nil, nil
		}
		return nil, fmt.Errorf("%s: %w", private, err)
	}
	return c, nil
}

func (s *Store) fillControl(c *control) (err error) {
	if c.id, err = s.readFormat(c.dir); err != nil {
		return err
	}
	for name, fd := range map[string]*int{"tmp": &c.tmp, "intents": &c.intents, "retained": &c.retained} {
		if *fd, err = s.host.OpenDir(c.dir, name); err != nil {
			return err
		}
	}
	flags := unix.O_RDWR | unix.O_APPEND
	if s.readOnly {
		flags = unix.O_RDONLY
	}
	c.queue, err = s.host.Open(c.dir, "queue", flags, 0, "queue")
	return err
}

func (s *Store) readFormat(dir int) (id string, err error) {
	f, err := s.host.Open(dir, "format", unix.O_RDONLY, 0, "format")
	if err != nil {
		return "", err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, 1<<10))
	if err != nil {
		return "", err
	}
	var version int
	if n, _ := fmt.Sscanf(string(b), "excpfs store %d\nid %s\n", &version, &id); n == 0 {
		return "", errors.New("format: not that of a store")
	}
	if version != formatVersion {
		return "", fmt.Errorf("format: store version %d is not what this excpfs reads (%d); upgrade excpfs", version, formatVersion)
	}
	return id, nil
}

func (c *control) close() {
	for _, fd := range []int{c.dir, c.tmp, c.intents, c.retained} {
		if fd >= 0 {
			unix.Close(fd)
		}
	}
	if c.queue != nil {
		c.queue.Close()
	}
}

// control returns .excpfs, made now if it is not there.
func (s *Store) control() (*control, error) {
	if s.readOnly {
		return nil, unix.EROFS
	}
	s.private.Lock()
	defer s.private.Unlock()
	if s.private.control != nil {
		return s.private.control, nil
	}
	if err := s.makeControl(); err != nil {
		return nil, fmt.Errorf("making %s: %w", private, err)
	}
	c, err := s.openControl()
	if err == nil && c == nil {
		err = unix.ENOENT
	}
	s.private.control = c
	return c, err
}

// existing is nil where nothing needed .excpfs yet.
func (s *Store) existing() *control {
	s.private.Lock()
	defer s.private.Unlock()
	return s.private.control
}

func (s *Store) makeControl() error {
	before, err := s.host.Stat(s.root.fd(), "")
	if err != nil {
		return err
	}
	if err := s.host.Mkdir(s.root.fd(), private, 0o700); err != nil && err != unix.EEXIST {
		return err
	}
	mtime := time.Unix(0, host.Nanos(before.Mtime))
	if err := s.host.Utimes(s.root.fd(), ".", nil, &mtime); err != nil {
		return err
	}
	dir, err := s.host.OpenDir(s.root.fd(), private)
	if err != nil {
		return err
	}
	defer unix.Close(dir)
	for _, name := range []string{"tmp", "intents", "retained"} {
		if err := s.host.Mkdir(dir, name, 0o700); err != nil && err != unix.EEXIST {
			return err
		}
	}
	if err := s.writeFile(dir, "queue", nil); err != nil {
		return err
	}
	id := make([]byte, 16)
	rand.Read(id)
	if err := s.writeFile(dir, "format.new", fmt.Appendf(nil, "excpfs store %d\nid %x\n", formatVersion, id)); err != nil {
		return err
	}
	if err := s.host.Rename(dir, "format.new", dir, "format", 0); err != nil {
		return err
	}
	if err := s.host.SyncDir(dir); err != nil {
		return err
	}
	return s.host.SyncDir(s.root.fd())
}

// writeFile makes a file durable; not its name.
func (s *Store) writeFile(dir int, name string, b []byte) error {
	f, err := s.host.Open(dir, name, unix.O_WRONLY|unix.O_CREAT|unix.O_TRUNC, 0o600, name)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := s.host.Write(f, b); err != nil {
		return err
	}
	return s.host.Sync(f, false)
}

// clear removes the files of a private folder.
func (s *Store) clear(dir int) error {
	list, err := s.host.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range list {
		if err := s.host.Unlink(dir, e.Name()); err != nil {
			return err
		}
	}
	return nil
}

// next numbers temporary files and intents.
func (s *Store) next() string {
	s.private.Lock()
	defer s.private.Unlock()
	s.private.seq++
	return fmt.Sprintf("%016d", s.private.seq)
}

// Temp makes a file in .excpfs/tmp.
func (s *Store) Temp() (*os.File, error) {
	c, err := s.control()
	if err != nil {
		return nil, err
	}
	name := s.next()
	return s.host.Open(c.tmp, name, unix.O_RDWR|unix.O_CREAT|unix.O_EXCL, 0o600, path.Join(private, "tmp", name))
}

// Discard closes a file of Temp and removes it if it is still in .excpfs/tmp. Call it always:
// after Swap and Place, which leave temp open, and after failures.
func (s *Store) Discard(temp *os.File) {
	if c := s.existing(); c != nil && s.isTemp(c, temp) {
		s.host.Unlink(c.tmp, path.Base(temp.Name()))
	}
	temp.Close()
}

func (s *Store) isTemp(c *control, temp *os.File) bool {
	st, err := s.host.Stat(int(temp.Fd()), "")
	if err != nil {
		return false
	}
	there, err := s.host.Stat(c.tmp, path.Base(temp.Name()))
	return err == nil && keyOf(&st) == keyOf(&there)
}

// retainedName is the name of a content in retained/.
func retainedName(id [16]byte) string { return fmt.Sprintf("%x%s", id, suffix) }

func quote(text string) string { return strconv.Quote(text) }
