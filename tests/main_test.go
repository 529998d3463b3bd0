package tests

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// binary is the program under test, built once.
var binary string

func TestMain(m *testing.M) { os.Exit(runAll(m)) }

func runAll(m *testing.M) int {
	dir, err := os.MkdirTemp("", "excpfs-tests-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	os.Chmod(dir, 0o755)
	os.Setenv("TMPDIR", dir) // so that what is left below it is ours
	binary = filepath.Join(dir, "excpfs")
	build := exec.Command("go", "build", "-o", binary, "../cmd/excpfs")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build: %v\n%s", err, out)
		return 1
	}
	code := m.Run()
	for point := range leftovers() {
		if strings.HasPrefix(point, dir+"/") {
			fmt.Fprintf(os.Stderr, "a test left %s mounted\n", point)
			exec.Command("umount", "-l", point).Run()
			code = 1
		}
	}
	return code
}

// leftovers are the excpfs mounts of this machine.
func leftovers() map[string]bool {
	table, _ := os.ReadFile("/proc/self/mountinfo")
	points := map[string]bool{}
	for _, line := range strings.Split(string(table), "\n") {
		if strings.Contains(line, " - fuse.excpfs ") {
			points[strings.Fields(line)[4]] = true
		}
	}
	return points
}

// result of a command.
type result struct {
	code           int
	stdout, stderr string
}

func (r result) String() string {
	return fmt.Sprintf("exit code %d\nstdout:\n%s\nstderr:\n%s", r.code, r.stdout, r.stderr)
}

// patience is how long a command may take.
const patience = 3 * time.Minute

// command runs a program to its end.
func command(t *testing.T, name string, args ...string) result {
	t.Helper()
	return commandIn(t, "", nil, name, args...)
}

func commandIn(t *testing.T, dir string, env []string, name string, args ...string) result {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	if os.Getenv("EXCPFS_LONG") != "" {
		ctx, cancel = context.WithTimeout(context.Background(), 10*patience)
	}
	defer cancel()
	var stdout, stderr bytes.Buffer
	c := exec.CommandContext(ctx, name, args...)
	c.Dir, c.Stdout, c.Stderr = dir, &stdout, &stderr
	c.Env = append(os.Environ(), env...)
	c.WaitDelay = 5 * time.Second
	err := c.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatalf("%s %q: %v", name, args, err)
	}
	if ctx.Err() != nil {
		t.Fatalf("%s %q took longer than %v\n%s", name, args, patience, stderr.String())
	}
	return result{c.ProcessState.ExitCode(), stdout.String(), stderr.String()}
}

// excpfs runs the program and expects an exit code.
func excpfs(t *testing.T, code int, args ...string) result {
	t.Helper()
	r := command(t, binary, args...)
	if r.code != code {
		t.Fatalf("excpfs %q: exit code %d expected\n%v", args, code, r)
	}
	return r
}

// must runs any command that has to succeed.
func must(t *testing.T, name string, args ...string) string {
	t.Helper()
	r := command(t, name, args...)
	if r.code != 0 {
		t.Fatalf("%s %q\n%v", name, args, r)
	}
	return r.stdout
}
