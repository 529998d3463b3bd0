package fs

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

func TestReadOnly(t *testing.T) {
	dir := tempDir(t)
	ok(t, os.Mkdir(filepath.Join(dir, "store"), 0o755))
	writeFile(t, filepath.Join(dir, "store", "f"), []byte("plain"))
	m := mountStore(t, setup{Store: filepath.Join(dir, "store"), ReadOnly: true})
	wantFile(t, m.path("f"), []byte("plain"))
	for name, err := range map[string]error{
		"create": os.WriteFile(m.path("g"), nil, 0o644),
		"write":  os.WriteFile(m.path("f"), nil, 0o644),
		"unlink": syscall.Unlink(m.path("f")),
		"mkdir":  os.Mkdir(m.path("d"), 0o755),
		"rename": os.Rename(m.path("f"), m.path("g")),
		"chmod":  os.Chmod(m.path("f"), 0o600),
	} {
		if err == nil || !strings.Contains(err.Error(), unix.EROFS.Error()) {
			t.Errorf("%s: %v", name, err)
		}
	}
	b, err := os.ReadFile("/proc/self/mountinfo")
	ok(t, err)
	for line := range strings.Lines(string(b)) {
		if strings.Contains(line, " "+m.Mnt+" ") && !strings.Contains(line, " ro,") {
			t.Errorf("mounted as %s", line)
		}
	}
}

// The kernel sends a fault in a handler as EIO, and the mount lives on.
func TestPanic(t *testing.T) {
	m := mountStore(t, setup{Panic: true, NoPassthrough: true})
	writeFile(t, m.path("panic"), []byte("x"))
	_, err := os.ReadFile(m.path("panic"))
	wantErr(t, err, unix.EIO)
	writeFile(t, m.path("other"), []byte("y"))
	wantFile(t, m.path("other"), []byte("y"))
	m.logged(t, "for the test")
}
