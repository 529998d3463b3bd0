package tests

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// refused mounts and expects a sentence, and nothing mounted.
func refused(t *testing.T, store, point, sentence string) {
	t.Helper()
	r := command(t, binary, "mount", "--log", filepath.Join(t.TempDir(), "log"), store, point)
	if r.code != 1 || leftovers()[point] {
		t.Errorf("mounting %s at %s\n%v", store, point, r)
	}
	contains(t, r.stderr, sentence)
}

func TestMountPointRefused(t *testing.T) {
	needFuse(t)
	store, empty := t.TempDir(), t.TempDir()
	full := t.TempDir()
	file := filepath.Join(full, "file")
	if err := os.WriteFile(file, []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	refused(t, store, filepath.Join(empty, "missing"), "does not exist")
	refused(t, store, full, "not empty")
	refused(t, store, file, "not a")
	refused(t, filepath.Join(empty, "missing"), empty, "mkdir")
	refused(t, file, empty, "not a folder")
	inner := filepath.Join(store, "inner")
	if err := os.Mkdir(inner, 0o755); err != nil {
		t.Fatal(err)
	}
	refused(t, store, inner, "inside the store")
}

// TestDeadMountPoint: a mount whose daemon was killed is told, cleared by umount,
// and replaced by a new mount at the same place.
func TestDeadMountPoint(t *testing.T) {
	m := mount(t, "--profile", "exact")
	m.add(t, checkpoint("500"))
	m.cmd.Process.Kill()
	<-m.ended
	for _, verb := range []string{"wait", "ls", "verify"} {
		contains(t, excpfs(t, 1, verb, m.point).stderr, "dead")
	}
	excpfs(t, 0, "umount", m.point)
	if leftovers()[m.point] {
		t.Fatal("the dead mount is still there")
	}
	again := start(t, m.store, m.point)
	if !again.serves(10 * time.Second) {
		t.Fatal("not mounted again")
	}
	again.cmd.Process.Kill()
	<-again.ended
	third := start(t, m.store, m.point)
	if !third.serves(10 * time.Second) {
		t.Fatal("not mounted over a dead mount")
	}
	same(t, third.path("checkpoint-500/model.safetensors"), filepath.Join(checkpoint("500"), "model.safetensors"))
}

// TestNoFuseDevice runs in a mount namespace of its own where /dev/fuse is hidden.
func TestNoFuseDevice(t *testing.T) {
	needRoot(t)
	needFuse(t)
	needProgram(t, "unshare")
	if r := command(t, "unshare", "-m", "true"); r.code != 0 {
		t.Skipf("skipped: no mount namespaces here: %s", r.stderr)
	}
	empty := t.TempDir()
	script := `mount -t tmpfs none /dev && mknod -m 666 /dev/null c 1 3 && exec "$0" mount --log "$1/log" "$2" "$3"`
	r := command(t, "unshare", "-m", "sh", "-c", script, binary, t.TempDir(), t.TempDir(), empty)
	if r.code != 1 {
		t.Error(r)
	}
	contains(t, r.stderr, "/dev/fuse")
}

// publicDir is a temporary folder that other users can enter.
func publicDir(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	must(t, "chmod", "755", dir, filepath.Dir(dir))
	return dir
}

// TestNoFusermount runs as nobody with no program to be found.
func TestNoFusermount(t *testing.T) {
	needRoot(t)
	needFuse(t)
	needProgram(t, "setpriv")
	dir := publicDir(t)
	must(t, "sh", "-c", `cp "$1" "$0/excpfs" && mkdir "$0/store" "$0/mnt" "$0/state" && chown nobody "$0/store" "$0/mnt" "$0/state"`, dir, binary)
	r := command(t, "setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "env", "-i", "PATH=/nowhere",
		"XDG_STATE_HOME="+dir+"/state", dir+"/excpfs", "mount", dir+"/store", dir+"/mnt")
	if r.code != 1 {
		unix.Unmount(dir+"/mnt", unix.MNT_DETACH)
		t.Fatal(r)
	}
	contains(t, r.stderr, "fuse3")
}

// TestNormalUser mounts, writes and unmounts as nobody, by way of fusermount3, in a
// mount namespace where /dev/fuse is open to all, as distributions have it.
func TestNormalUser(t *testing.T) {
	needRoot(t)
	needFuse(t)
	for _, p := range []string{"setpriv", "unshare", "fusermount3"} {
		needProgram(t, p)
	}
	dir := publicDir(t)
	prepare := `mkdir "$0/store" "$0/mnt" "$0/state" && cp -r "$1" "$0/ckpt" && chown -R 65534 "$0"/* && mknod -m 666 "$0/fuse" c 10 229 && chmod 755 "$0"`
	if r := command(t, "sh", "-c", prepare, dir, checkpoint("500")); r.code != 0 {
		t.Skipf("skipped: no device file can be made here: %s", r.stderr)
	}
	script := `set -e
cd "$1"
"$0" mount --settle 50ms --profile exact --log state/log store mnt
cp -r ckpt mnt/
"$0" wait mnt
cmp ckpt/model.safetensors mnt/ckpt/model.safetensors
"$0" umount mnt
test -e store/ckpt/model.safetensors.excp
echo done`
	r := command(t, "unshare", "-m", "sh", "-c",
		`mount --bind "$1/fuse" /dev/fuse && exec setpriv --reuid=65534 --regid=65534 --clear-groups env HOME="$1" sh -c "$2" "$0" "$1"`,
		binary, dir, script)
	if r.code != 0 && strings.Contains(r.stderr, "unshare failed") {
		t.Skipf("skipped: no mount namespaces here: %s", r.stderr)
	}
	if r.code != 0 || r.stdout != "done\n" {
		t.Error(r)
	}
}
