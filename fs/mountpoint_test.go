package fs

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestMountRefused(t *testing.T) {
	needFUSE(t)
	dir := tempDir(t)
	store := filepath.Join(dir, "store")
	ok(t, os.MkdirAll(filepath.Join(store, "inside"), 0o755))
	ok(t, os.Mkdir(filepath.Join(dir, "full"), 0o755))
	writeFile(t, filepath.Join(dir, "full", "something"), nil)
	ok(t, os.Symlink(store, filepath.Join(dir, "link")))
	for _, c := range []struct{ mnt, want string }{
		{"missing", "mount point does not exist"},
		{"full/something", "mount point is not a folder"},
		{"full", `mount point is not empty (it holds "something")`},
		{"store", "store and mount point are the same folder"},
		{"link", "store and mount point are the same folder"},
		{"store/inside", "mount point lies inside the store"},
		{".", "lies inside the mount point"},
	} {
		_, err := start(t, setup{Store: store, Mnt: filepath.Join(dir, c.mnt)})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, expected %q", c.mnt, err, c.want)
		}
	}
	m := mountStore(t, setup{})
	if _, err := start(t, setup{Mnt: m.Mnt}); err == nil || !strings.Contains(err.Error(), "is mounted there already") {
		t.Errorf("twice: %v", err)
	}
	wantErrText(t, Unmount(filepath.Join(dir, "full")), "not a mount point")
	wantErrText(t, Unmount(filepath.Join(dir, "missing")), "does not exist")
}

func wantErrText(t testing.TB, err error, text string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), text) {
		t.Errorf("%v, expected %q", err, text)
	}
}

// crash kills the server of a mount.
func crash(t testing.TB, m *live) {
	t.Helper()
	ok(t, m.cmd.Process.Kill())
	<-m.ended
	m.ended <- nil
	if !dead(m.Mnt) {
		t.Error("the mount is not dead")
	}
}

func TestDeadMount(t *testing.T) {
	m := mountStore(t, setup{})
	writeFile(t, m.path("f"), []byte("x"))
	crash(t, m)
	again := mountStore(t, setup{Store: m.Store, Mnt: m.Mnt})
	wantFile(t, again.path("f"), []byte("x"))
	crash(t, again)
	ok(t, Unmount(m.Mnt))
}

// A dead mount in which something is still open goes too.
func TestDeadMountBusy(t *testing.T) {
	m := mountStore(t, setup{})
	f, err := os.Create(m.path("f"))
	ok(t, err)
	defer f.Close()
	crash(t, m)
	ok(t, Unmount(m.Mnt))
}

// As anybody: by fusermount3, and nothing is passed through.
func TestUnprivileged(t *testing.T) {
	needRoot(t) // to become somebody else
	need(t, "fusermount3")
	if st, err := os.Stat("/dev/fuse"); err != nil || st.Mode()&0o006 != 0o006 {
		t.Skipf("SKIPPED: /dev/fuse is not open to everybody: %v", st.Mode())
	}
	exe := filepath.Join(tempDir(t), "server")
	ok(t, copyFile(exe, os.Args[0]))
	ok(t, os.Chmod(filepath.Dir(exe), 0o755))
	m := mountStore(t, setup{uid: 65534, exe: exe})
	script := fmt.Sprintf(`cd %s && echo hello > f && cat f && mkdir d && mv f d/g && cat d/g && dd if=/dev/zero of=z bs=1M count=3 2>/dev/null && cmp -n 3145728 z /dev/zero && rm -r d z`, m.Mnt)
	cmd := exec.Command("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "sh", "-ec", script)
	need(t, "setpriv")
	if out := m.finish(t, cmd); out != "hello\nhello\n" {
		t.Errorf("%q", out)
	}
}

func copyFile(to, from string) error {
	r, err := os.Open(from)
	if err != nil {
		return err
	}
	defer r.Close()
	w, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY, 0o755)
	if err != nil {
		return err
	}
	if _, err := io.Copy(w, r); err != nil {
		return err
	}
	return w.Close()
}

func TestMountTable(t *testing.T) {
	m := mountStore(t, setup{})
	at, err := mountAt(m.Mnt)
	ok(t, err)
	if at == nil || at.Kind != "fuse.excpfs" || at.Source != m.Store {
		t.Errorf("mounted as %+v", at)
	}
	if os.Geteuid() == 0 {
		var st unix.Stat_t
		ok(t, unix.Stat(m.Mnt, &st))
		b, err := os.ReadFile(fmt.Sprintf("/sys/class/bdi/%d:%d/read_ahead_kb", unix.Major(st.Dev), unix.Minor(st.Dev)))
		if err == nil && string(b) != "2048\n" {
			t.Errorf("read ahead: %s", b)
		}
	}
}

func TestUnescape(t *testing.T) {
	for in, want := range map[string]string{`/a\040b`: "/a b", `/a\134040`: `/a\040`, `/plain`: "/plain", `\04`: `\04`, `/x\999`: `/x\999`,
		`/mnt/a\040b`: "/mnt/a b", `\134`: `\`, `a\04`: `a\04`, `\999`: `\999`, "": ""} {
		if got := unescape(in); got != want {
			t.Errorf("%q: %q, expected %q", in, got, want)
		}
	}
}
