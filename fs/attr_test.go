package fs

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestXattr(t *testing.T) {
	m := mountStore(t, setup{})
	f := m.path("f")
	writeFile(t, f, nil)
	if err := unix.Setxattr(m.host("f"), "user.probe", []byte("x"), 0); err != nil {
		t.Skipf("SKIPPED: the host has no xattrs here: %v", err)
	}
	ok(t, unix.Setxattr(f, "user.mine", []byte("value"), 0))
	wantErr(t, unix.Setxattr(f, "user.mine", nil, unix.XATTR_CREATE), unix.EEXIST)
	b := make([]byte, 100)
	n, err := unix.Getxattr(f, "user.mine", b)
	if err != nil || string(b[:n]) != "value" {
		t.Errorf("%q, %v", b[:max(n, 0)], err)
	}
	_, err = unix.Getxattr(f, "user.mine", b[:2])
	wantErr(t, err, unix.ERANGE)
	n, err = unix.Listxattr(f, make([]byte, 0))
	ok(t, err)
	list := make([]byte, n)
	_, err = unix.Listxattr(f, list)
	ok(t, err)
	if names := strings.Split(string(list), "\x00"); !slices.Contains(names, "user.mine") || !slices.Contains(names, "user.excpfs.state") {
		t.Errorf("names %q", names)
	}
	n, err = unix.Getxattr(f, "user.excpfs.state", b)
	ok(t, err)
	t.Logf("state: %s", b[:n])
	ok(t, unix.Setxattr(f, "user.excpfs.state", []byte("forged"), 0))
	ok(t, unix.Removexattr(f, "user.mine"))
	_, err = unix.Getxattr(f, "user.mine", b)
	wantErr(t, err, unix.ENODATA)
}

func TestAttributes(t *testing.T) {
	modes(t, func(t *testing.T, s setup) {
		m := mountStore(t, s)
		f := m.path("f")
		writeFile(t, f, []byte("data"))
		st := stat(t, f)
		if st.Blksize != blockSize || st.Blocks == 0 || st.Nlink != 1 {
			t.Errorf("blksize %d, blocks %d, nlink %d", st.Blksize, st.Blocks, st.Nlink)
		}
		if st.Ino == stat(t, m.host("f")).Ino {
			t.Error("shows the host's inode number")
		}
		for _, mode := range []uint32{0o600, 0, 0o755} { // 0 stays 0
			ok(t, syscall.Chmod(f, mode))
			if got := stat(t, f).Mode & 0o7777; got != mode {
				t.Errorf("mode %o, expected %o", got, mode)
			}
		}
		want := time.Unix(12345, 678)
		ok(t, os.Chtimes(f, time.Time{}, want))
		if got := stat(t, f).Mtim; got.Sec != 12345 || got.Nsec != 678 {
			t.Errorf("mtime %v", got)
		}
		ok(t, unix.UtimesNanoAt(unix.AT_FDCWD, f, []unix.Timespec{{Nsec: unix.UTIME_OMIT}, {Nsec: unix.UTIME_NOW}}, 0))
		now := stat(t, f)
		if got := time.Unix(now.Mtim.Unix()); time.Since(got).Abs() > time.Minute {
			t.Errorf("mtime %v after UTIME_NOW", got)
		}
		// what a writer does shows at once
		w, err := os.OpenFile(f, os.O_WRONLY, 0)
		ok(t, err)
		defer w.Close()
		for i := range 3 {
			_, err := w.WriteAt([]byte("x"), int64(100*i))
			ok(t, err)
			if got, host := stat(t, f), stat(t, m.host("f")); got.Size != host.Size || got.Mtim != host.Mtim {
				t.Errorf("size %d, mtime %v, on the host %d, %v", got.Size, got.Mtim, host.Size, host.Mtim)
			}
		}
		var sx unix.Statx_t
		ok(t, unix.Statx(unix.AT_FDCWD, f, unix.AT_STATX_FORCE_SYNC, unix.STATX_ALL, &sx))
		if sx.Size != 201 || sx.Ino != st.Ino {
			t.Errorf("statx: %+v", sx)
		}
		var fs unix.Statfs_t
		ok(t, unix.Statfs(f, &fs))
		if fs.Blocks == 0 || fs.Namelen == 0 {
			t.Errorf("statfs: %+v", fs)
		}
	})
}

func TestOwnership(t *testing.T) {
	needRoot(t)
	m := mountStore(t, setup{AllowOther: true})
	ok(t, os.Chmod(m.Mnt, 0o777))
	user := func(script string) (string, error) {
		cmd := m.shell(script)
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 1234, Gid: 1235}}
		b, err := cmd.CombinedOutput()
		return string(b), err
	}
	ok(t, os.Chmod(filepath.Dir(m.Mnt), 0o755))
	if out, err := user("umask 022; echo x > f; mkdir d; ln -s f l; mkfifo p; chmod 4755 f"); err != nil {
		t.Fatal(out, err)
	}
	for _, name := range []string{"f", "d", "l", "p"} {
		if st := stat(t, m.path(name)); st.Uid != 1234 || st.Gid != 1235 {
			t.Errorf("%s belongs to %d:%d", name, st.Uid, st.Gid)
		}
	}
	if got := stat(t, m.path("d")).Mode & 0o7777; got != 0o755 {
		t.Errorf("folder has mode %o", got)
	}
	if out, err := user("echo y >> f"); err != nil {
		t.Fatal(out, err)
	}
	if got := stat(t, m.path("f")).Mode & 0o7777; got != 0o755 {
		t.Errorf("mode %o after a write by somebody unprivileged", got)
	}
	writeFile(t, m.path("root"), []byte("x"))
	ok(t, os.Chmod(m.path("root"), 0o600))
	if out, err := user("cat root"); err == nil {
		t.Errorf("anybody reads a file of root: %s", out)
	}
	if out, err := user("chown 0 f"); err == nil {
		t.Errorf("anybody gives files away: %s", out)
	}
}

// ACLs of the host are those of the mount.
func TestACL(t *testing.T) {
	needRoot(t)
	m := mountStore(t, setup{AllowOther: true})
	ok(t, os.Chmod(filepath.Dir(m.Mnt), 0o755))
	ok(t, os.Chmod(m.Mnt, 0o755))
	writeFile(t, m.path("f"), []byte("secret"))
	ok(t, os.Chown(m.path("f"), 0, 1235))
	ok(t, os.Chmod(m.path("f"), 0o640))
	m.run(t, m.Mnt, "setfacl", "-m", "u:1234:r,g::-,m::rw", "f")
	as := func(uid, gid uint32) error {
		cmd := m.shell("cat f")
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: gid}}
		return cmd.Run()
	}
	if err := as(1234, 1); err != nil {
		t.Errorf("the user of the ACL may not read: %v", err)
	}
	if as(77, 1235) == nil {
		t.Error("the group reads by the mask of the ACL")
	}
	if got := m.run(t, m.Store, "getfacl", "-c", "f"); !strings.Contains(got, "user:1234:r--") {
		t.Errorf("on the host: %s", got)
	}
}

// Extended attributes of files that have no name, or none any more.
func TestXattrWithoutName(t *testing.T) {
	modes(t, func(t *testing.T, s setup) {
		m := mountStore(t, s)
		writeFile(t, m.path("gone"), []byte("x"))
		gone, err := unix.Open(m.path("gone"), unix.O_RDWR, 0)
		ok(t, err)
		defer unix.Close(gone)
		ok(t, unix.Unlink(m.path("gone")))
		unnamed, err := unix.Open(m.Mnt, unix.O_TMPFILE|unix.O_RDWR, 0o640)
		ok(t, err)
		defer unix.Close(unnamed)
		for _, fd := range []int{gone, unnamed} {
			ok(t, unix.Fsetxattr(fd, "user.note", []byte("hello"), 0))
			b := make([]byte, 100)
			n, err := unix.Fgetxattr(fd, "user.note", b)
			ok(t, err)
			wantBytes(t, "user.note", b[:n], []byte("hello"))
			n, err = unix.Flistxattr(fd, b)
			ok(t, err)
			wantBytes(t, "the list", b[:n], []byte("user.note\x00"))
			ok(t, unix.Fremovexattr(fd, "user.note"))
			_, err = unix.Fgetxattr(fd, "user.note", b)
			wantErr(t, err, unix.ENODATA)
		}
	})
}
