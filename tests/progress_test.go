package tests

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// terminal makes a pseudoterminal of 100 columns: ours, and the side that programs get.
func terminal(t *testing.T) (ours, theirs *os.File) {
	t.Helper()
	ours, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("skipped: no pseudoterminals here: %v", err)
	}
	t.Cleanup(func() { ours.Close() })
	fd := int(ours.Fd())
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0)
	}
	if err == nil {
		err = unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: 25, Col: 100})
	}
	if err == nil {
		theirs, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	}
	if err != nil {
		t.Skipf("skipped: no pseudoterminals here: %v", err)
	}
	return ours, theirs
}

// TestProgressOnTerminal: wait shows a bar of the files, and takes it away at the end.
func TestProgressOnTerminal(t *testing.T) {
	m := mount(t, "--settle", "1500ms")
	must(t, "cp", "-r", checkpoint("500"), m.point)
	ours, theirs := terminal(t)
	c := exec.Command(binary, "wait", m.point)
	c.Stderr = theirs
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	theirs.Close()
	text := make(chan string)
	go func() {
		b, _ := io.ReadAll(ours) // ends in EIO when nobody has the other side
		text <- string(b)
	}()
	if err := c.Wait(); err != nil {
		t.Error(err)
	}
	select {
	case got := <-text:
		if !regexp.MustCompile(`\r\x1b\[K\[=* +\] wait: \d of 4 files, 0:0\d`).MatchString(got) {
			t.Errorf("no bar in %q", got)
		}
		_, last, _ := strings.Cut(got[strings.LastIndex(got, " of 4 files"):], "\x1b[K")
		if strings.Contains(last, "wait:") || !strings.Contains(last, "stay plain") {
			t.Errorf("the end is %q", last)
		}
	case <-time.After(10 * time.Second):
		t.Error("the terminal did not end")
	}
}
