package store

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// LockedError says who writes to the store.
type LockedError struct {
	Path    string
	PID     int
	Command string
}

func (e *LockedError) Error() string {
	who := "another process"
	if e.PID > 0 {
		who = fmt.Sprintf("process %d (%s)", e.PID, e.Command)
	}
	return fmt.Sprintf("%s is in use by %s", e.Path, who)
}

// lock takes the writer's lock on an open store folder.
func lock(root *os.File, path string) error {
	err := unix.Flock(int(root.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if err != unix.EWOULDBLOCK {
		return err
	}
	return lockedError(root, path)
}

// lockedError tells who has the lock of an open folder.
func lockedError(root *os.File, path string) *LockedError {
	e := &LockedError{Path: path}
	var st unix.Stat_t
	if unix.Fstat(int(root.Fd()), &st) == nil {
		e.PID = holder(st.Dev, st.Ino)
		e.Command = command(e.PID)
	}
	return e
}

// holder finds the process that has a flock on a file in /proc/locks; 0: not visible from here.
func holder(dev, ino uint64) int {
	f, err := os.Open("/proc/locks")
	if err != nil {
		return 0
	}
	defer f.Close()
	want := fmt.Sprintf("%02x:%02x:%d", unix.Major(dev), unix.Minor(dev), ino)
	for sc := bufio.NewScanner(f); sc.Scan(); {
		// 1: FLOCK  ADVISORY  WRITE 1234 fe:00:131073 0 EOF
		if w := strings.Fields(sc.Text()); len(w) > 5 && w[1] == "FLOCK" && w[5] == want {
			pid, _ := strconv.Atoi(w[4])
			return pid
		}
	}
	return 0
}

func command(pid int) string {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if err != nil || len(b) == 0 {
		return "?"
	}
	return string(bytes.ReplaceAll(bytes.TrimRight(b, "\x00"), []byte{0}, []byte{' '}))
}
