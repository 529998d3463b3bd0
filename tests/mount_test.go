package tests

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// mounted is a store shown by a daemon that is a child of the test.
type mounted struct {
	store, point string
	cmd          *exec.Cmd
	log          *logBuffer
	ended        chan struct{}
}

type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// quick makes files settle at once.
var quick = []string{"--settle", "50ms"}

// mount shows a new store.
func mount(t *testing.T, flags ...string) *mounted {
	t.Helper()
	return remount(t, t.TempDir(), append(quick, flags...)...)
}

// remount shows a store that exists.
func remount(t *testing.T, store string, flags ...string) *mounted {
	t.Helper()
	needFuse(t)
	m := start(t, store, t.TempDir(), flags...)
	if !m.serves(20 * time.Second) {
		t.Fatalf("the mount does not serve; log:\n%s", m.log)
	}
	return m
}

func start(t *testing.T, store, point string, flags ...string) *mounted {
	t.Helper()
	m := &mounted{store: store, point: point, log: &logBuffer{}, ended: make(chan struct{})}
	m.cmd = exec.Command(binary, append(append([]string{"mount", "-f"}, flags...), store, point)...)
	m.cmd.Stdout, m.cmd.Stderr = m.log, m.log
	if err := m.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { m.cmd.Wait(); close(m.ended) }()
	t.Cleanup(func() {
		m.clear()
		if t.Failed() {
			t.Logf("log of the daemon:\n%s", m.log)
		}
	})
	return m
}

// serves waits until the mount answers or the daemon has ended.
func (m *mounted) serves(patience time.Duration) bool {
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		var st unix.Statfs_t
		if leftovers()[m.point] && unix.Statfs(m.point, &st) == nil && st.Type == unix.FUSE_SUPER_MAGIC {
			return true
		}
		select {
		case <-m.ended:
			return false
		default:
		}
	}
	return false
}

// clear unmounts, whatever state things are in.
func (m *mounted) clear() {
	if leftovers()[m.point] {
		unix.Unmount(m.point, unix.MNT_FORCE)
		unix.Unmount(m.point, unix.MNT_DETACH)
	}
	select {
	case <-m.ended:
	case <-time.After(10 * time.Second):
		m.cmd.Process.Kill()
		<-m.ended
	}
}

// kill ends the daemon as a crash does, and clears the dead mount away.
func (m *mounted) kill() {
	m.cmd.Process.Signal(syscall.SIGKILL)
	<-m.ended
	unix.Unmount(m.point, unix.MNT_DETACH)
}

// terminate asks the daemon to end in order and returns its exit code.
func (m *mounted) terminate(t *testing.T) int {
	t.Helper()
	m.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-m.ended:
	case <-time.After(60 * time.Second):
		t.Fatalf("the daemon did not end; log:\n%s", m.log)
	}
	return m.cmd.ProcessState.ExitCode()
}

func (m *mounted) path(name string) string { return filepath.Join(m.point, name) }

func (m *mounted) wait(t *testing.T) { t.Helper(); excpfs(t, 0, "wait", "--timeout", "2m", m.point) }

func (m *mounted) umount(t *testing.T) {
	t.Helper()
	excpfs(t, 0, "umount", m.point)
	select {
	case <-m.ended:
	case <-time.After(10 * time.Second):
		t.Fatal("umount returned before the daemon had ended")
	}
}

// add copies a checkpoint into the mount, as cp does, and waits.
func (m *mounted) add(t *testing.T, checkpoint string) {
	t.Helper()
	must(t, "cp", "-r", checkpoint, m.point+"/")
	must(t, "chmod", "-R", "u+w", m.path(filepath.Base(checkpoint)))
	m.wait(t)
}

func (m *mounted) state(name string) string {
	buf := make([]byte, 4096)
	n, err := unix.Lgetxattr(m.path(name), "user.excpfs.state", buf)
	if err != nil {
		return err.Error()
	}
	return string(buf[:n])
}

// fixture is the small chain of the repo; its steps are 500, 600, 700.
const fixture = "testdata/chain/dev"

func checkpoint(step string) string { return filepath.Join(fixture, "checkpoint-"+step) }

// needFuse skips where nothing can be mounted.
func needFuse(t *testing.T) {
	t.Helper()
	if _, err := os.Stat("/dev/fuse"); err != nil {
		t.Skip("skipped: no /dev/fuse")
	}
	if _, err := exec.LookPath("fusermount3"); err != nil && os.Geteuid() != 0 {
		t.Skip("skipped: no fusermount3, and not root")
	}
}

func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("skipped: not root")
	}
}

func needProgram(t *testing.T, name string) {
	t.Helper()
	if _, err := exec.LookPath(name); err != nil {
		t.Skipf("skipped: no program %s (make setup)", name)
	}
}

// needPython returns the interpreter with numpy and safetensors.
func needPython(t *testing.T) string {
	t.Helper()
	python, err := filepath.Abs("../.venv/bin/python")
	if err != nil {
		t.Fatal(err)
	}
	if r := exec.Command(python, "-c", "import numpy, safetensors.numpy"); r.Run() != nil {
		t.Skip("skipped: no .venv with numpy and safetensors (make setup)")
	}
	return python
}

// shared returns the folder with the large chain, or "".
func shared() string {
	dir := os.Getenv("EXCPFS_SHARED")
	if dir == "" {
		dir = "../../shared"
	}
	if _, err := os.Stat(filepath.Join(dir, "chain/dev/checkpoint-500")); err != nil {
		return ""
	}
	abs, _ := filepath.Abs(dir)
	return abs
}

// chainOf returns a chain of the given kind: the large one where it is at hand,
// else the fixture, which is said.
func chainOf(t *testing.T, kind string) string {
	t.Helper()
	if s := shared(); s != "" && !testing.Short() {
		return filepath.Join(s, "chain", kind)
	}
	t.Logf("the small chain of the repo is used: %s", kind)
	return filepath.Join("testdata/chain", kind)
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func same(t *testing.T, got, want string) {
	t.Helper()
	if !bytes.Equal(read(t, got), read(t, want)) {
		t.Fatalf("%s has not the bytes of %s", got, want)
	}
}

func contains(t *testing.T, text, part string) {
	t.Helper()
	if !strings.Contains(text, part) {
		t.Errorf("%q is missing in:\n%s", part, text)
	}
}

// logged waits a little for a line of the daemon's log.
func (m *mounted) logged(t *testing.T, part string) {
	t.Helper()
	for end := time.Now().Add(5 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if strings.Contains(m.log.String(), part) {
			return
		}
	}
	t.Errorf("%q is missing in the log:\n%s", part, m.log)
}
