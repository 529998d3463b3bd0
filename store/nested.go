package store

import (
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// NestedError says in which store the folder lies that was to be one.
type NestedError struct{ Path, Outer string }

func (e *NestedError) Error() string {
	return fmt.Sprintf("%s lies in the store %s and cannot be a store of its own", e.Path, e.Outer)
}

// topmost refuses a folder inside another store: each would change files under the other's feet.
func (s *Store) topmost() error {
	real, err := filepath.EvalSymlinks(s.path)
	if err != nil {
		return err
	}
	for dir := real; dir != "/"; {
		dir = filepath.Dir(dir)
		if st, err := os.Lstat(filepath.Join(dir, private)); err == nil && st.IsDir() {
			return &NestedError{s.path, dir}
		}
		if s.readOnly {
			continue
		}
		if err := unlocked(dir); err != nil {
			return fmt.Errorf("%w, and %s lies in it", err, s.path)
		}
	}
	return nil
}

// unlocked fails where a store that has no .excpfs yet is written to. Others lock folders too, as flock(1) does.
func unlocked(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return nil // who may not read it cannot have it locked
	}
	defer f.Close()
	if unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB) != unix.EWOULDBLOCK {
		return nil
	}
	e := lockedError(f, dir)
	name := path.Base(strings.Fields(e.Command + " ?")[0])
	if e.PID > 0 && e.PID != os.Getpid() && !strings.Contains(name, "excpfs") {
		return nil
	}
	return e
}
