package fs

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"excpfs/store"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// The mount is never served by the test process: what touches a mount must not be its server (a fault on a
// mapping stops a thread that the Go runtime believes is running). The test binary is started again as server and as client.
const roleEnv, argsEnv = "EXCPFS_TEST_ROLE", "EXCPFS_TEST_ARGS"

func TestMain(m *testing.M) {
	switch os.Getenv(roleEnv) {
	case "server":
		serve()
	case "client":
		client(os.Args[1:])
	}
	code := m.Run()
	if left := leftovers(); len(left) > 0 {
		fmt.Fprintln(os.Stderr, "mounts left over:", left)
		code = 1
	}
	os.Exit(code)
}

// leftovers are mounts that tests of this process made.
func leftovers() []string {
	var left []string
	b, _ := os.ReadFile("/proc/self/mountinfo")
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) > 4 && strings.Contains(line, " fuse.excpfs ") && strings.Contains(f[4], testTag) {
			left = append(left, f[4])
		}
	}
	return left
}

var testTag = fmt.Sprintf("excpfs-fs-test-%d-", os.Getpid())

// setup is how a test mounts.
type setup struct {
	Store, Mnt    string
	ReadOnly      bool
	NoPassthrough bool
	AllowOther    bool
	Trace         string // file that gets a line a request
	Panic         bool   // READs of a file named "panic" do

	uid int
	exe string
}

// serve is the process that serves a mount until its standard input ends.
func serve() {
	var s setup
	check(json.Unmarshal([]byte(os.Getenv(argsEnv)), &s))
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	st, err := store.Open(s.Store, store.Options{ReadOnly: s.ReadOnly, CacheSize: 64 << 20, Log: log})
	check(err)
	o := Options{ReadOnly: s.ReadOnly, AllowOther: s.AllowOther, Log: log, noPassthrough: s.NoPassthrough}
	if s.Trace != "" || s.Panic {
		o.wrap = func(raw fuse.RawFileSystem) fuse.RawFileSystem { return newTracer(raw, s) }
	}
	v, err := Mount(st, s.Mnt, o)
	check(err)
	fmt.Println("ready")
	go func() {
		io.Copy(io.Discard, os.Stdin)
		check(v.Unmount())
	}()
	v.Wait()
	check(st.Close())
	os.Exit(0)
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// live is a mount of a test.
type live struct {
	setup
	cmd   *exec.Cmd
	stdin io.Closer
	log   *lockedBuffer
	ended chan error
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func needFUSE(t testing.TB) {
	t.Helper()
	if f, err := os.OpenFile("/dev/fuse", os.O_RDWR, 0); err != nil {
		t.Skipf("SKIPPED: no usable /dev/fuse: %v", err)
	} else {
		f.Close()
	}
	if os.Geteuid() != 0 {
		if _, err := exec.LookPath("fusermount3"); err != nil {
			t.Skip("SKIPPED: not root, and no fusermount3")
		}
	}
}

func needRoot(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("SKIPPED: needs root")
	}
}

func need(t testing.TB, program string) {
	t.Helper()
	if _, err := exec.LookPath(program); err != nil {
		t.Skipf("SKIPPED: no %s", program)
	}
}

// tempDir is outside of t.TempDir, whose removal would descend into a mount that is stuck.
func tempDir(t testing.TB) string {
	t.Helper()
	d, err := os.MkdirTemp("", testTag)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if !slices.ContainsFunc(leftovers(), func(m string) bool { return strings.HasPrefix(m, d) }) {
			os.RemoveAll(d)
		}
	})
	return d
}

// mountStore mounts s.Store, or an empty one, until the end of the test.
func mountStore(t testing.TB, s setup) *live {
	t.Helper()
	needFUSE(t)
	m, err := start(t, s)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.stop(t) })
	return m
}

func start(t testing.TB, s setup) (*live, error) {
	t.Helper()
	base := tempDir(t)
	for _, p := range []*string{&s.Store, &s.Mnt} {
		if *p == "" {
			*p = filepath.Join(base, map[*string]string{&s.Store: "store", &s.Mnt: "mnt"}[p])
			if err := os.Mkdir(*p, 0o777); err != nil {
				return nil, err
			}
		}
	}
	if s.uid != 0 {
		for _, p := range []string{base, s.Store, s.Mnt} {
			os.Chown(p, s.uid, s.uid)
		}
	}
	args, _ := json.Marshal(s)
	if s.exe == "" {
		s.exe = os.Args[0]
	}
	m := &live{setup: s, log: &lockedBuffer{}, ended: make(chan error, 1)}
	m.cmd = exec.Command(s.exe)
	m.cmd.Env = append(os.Environ(), roleEnv+"=server", argsEnv+"="+string(args))
	m.cmd.Stderr = m.log
	if s.uid != 0 {
		m.cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(s.uid), Gid: uint32(s.uid)}}
	}
	in, err := m.cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	m.stdin = in
	out, err := m.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := m.cmd.Start(); err != nil {
		return nil, err
	}
	line, _ := bufio.NewReader(out).ReadString('\n')
	go func() { m.ended <- m.cmd.Wait() }()
	if line != "ready\n" {
		<-m.ended
		return nil, errors.New(m.log.String())
	}
	return m, nil
}

// stop ends the mount and proves that nothing of it is left.
func (m *live) stop(t testing.TB) {
	t.Helper()
	m.stdin.Close()
	select {
	case err := <-m.ended:
		m.ended <- err
		if err != nil {
			t.Errorf("server: %v\n%s", err, m.log)
		}
	case <-time.After(20 * time.Second):
		t.Errorf("server does not end:\n%s", m.log)
		m.kill(t)
	}
	if at, err := mountAt(m.Mnt); err != nil || at != nil {
		t.Errorf("still mounted: %v %v", at, err)
		exec.Command("umount", "-l", m.Mnt).Run()
	}
}

// kill frees whoever waits for the server, then ends it.
func (m *live) kill(t testing.TB) {
	for range 2 {
		exec.Command("umount", "-f", m.Mnt).Run()
	}
	m.cmd.Process.Kill()
	exec.Command("umount", "-l", m.Mnt).Run()
}

func (m *live) path(elem ...string) string {
	return filepath.Join(append([]string{m.Mnt}, elem...)...)
}

func (m *live) host(elem ...string) string {
	return filepath.Join(append([]string{m.Store}, elem...)...)
}

// modes runs a test with plain files passed through and with requests for everything.
func modes(t *testing.T, f func(t *testing.T, s setup)) {
	needFUSE(t)
	if os.Geteuid() == 0 {
		t.Run("passthrough", func(t *testing.T) { f(t, setup{}) })
	}
	t.Run("requests", func(t *testing.T) { f(t, setup{NoPassthrough: true}) })
}

// run runs a command with a time limit and fails the test with its output.
func (m *live) run(t testing.TB, dir, program string, args ...string) string {
	t.Helper()
	need(t, program)
	cmd := exec.Command(program, args...)
	cmd.Dir = dir
	return m.finish(t, cmd)
}

// client runs a verb of client_test.go in a process of its own.
func (m *live) client(t testing.TB, args ...string) string {
	t.Helper()
	return m.finish(t, m.clientCmd(args...))
}

func (m *live) clientCmd(args ...string) *exec.Cmd {
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(os.Environ(), roleEnv+"=client")
	return cmd
}

func (m *live) finish(t testing.TB, cmd *exec.Cmd) string {
	t.Helper()
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	stuck := time.AfterFunc(60*time.Second, func() {
		t.Errorf("%v is stuck", cmd.Args)
		cmd.Process.Kill()
		m.kill(t)
	})
	defer stuck.Stop()
	if err := cmd.Wait(); err != nil {
		t.Fatalf("%v: %v\n%s", cmd.Args, err, out.String())
	}
	return out.String()
}

// trace waits until want appears and returns all requests so far.
func (m *live) trace(t testing.TB, want string) []string {
	t.Helper()
	for range 200 {
		b, _ := os.ReadFile(m.Trace)
		if lines := strings.Split(strings.TrimSpace(string(b)), "\n"); strings.Contains(string(b), want) {
			return lines
		}
		time.Sleep(10 * time.Millisecond)
	}
	b, _ := os.ReadFile(m.Trace)
	t.Fatalf("no %q in the trace:\n%s", want, b)
	return nil
}

// logged waits until the server's log holds a text and returns the log.
func (m *live) logged(t testing.TB, text string) string {
	t.Helper()
	for range 200 {
		if log := m.log.String(); strings.Contains(log, text) {
			return log
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("%q is not in the log:\n%s", text, m.log)
	return m.log.String()
}

func writeFile(t testing.TB, path string, data []byte) {
	t.Helper()
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
}

func wantFile(t testing.TB, path string, want []byte) {
	t.Helper()
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	wantBytes(t, path, got, want)
}

func wantBytes(t testing.TB, what string, got, want []byte) {
	t.Helper()
	if !bytes.Equal(got, want) {
		at := 0
		for at < min(len(got), len(want)) && got[at] == want[at] {
			at++
		}
		t.Fatalf("%s: %d bytes where %d were expected, different from byte %d on", what, len(got), len(want), at)
	}
}

func wantErr(t testing.TB, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("error %v, expected %v", err, want)
	}
}

func ok(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func stat(t testing.TB, path string) syscall.Stat_t {
	t.Helper()
	var st syscall.Stat_t
	if err := syscall.Lstat(path, &st); err != nil {
		t.Fatalf("lstat %s: %v", path, err)
	}
	return st
}
