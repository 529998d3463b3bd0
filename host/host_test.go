package host

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func folder(t *testing.T) (*FS, string, int) {
	t.Helper()
	h, dir := &FS{}, t.TempDir()
	f, err := h.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return h, dir, int(f.Fd())
}

func make1(t *testing.T, h *FS, dir int, name string) *os.File {
	t.Helper()
	f, err := h.Open(dir, name, unix.O_RDWR|unix.O_CREAT, 0o600, name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// Every operation that changes something asks first, and does nothing when refused.
func TestHook(t *testing.T) {
	h, path, dir := folder(t)
	f := make1(t, h, dir, "f")
	now := time.Now()
	stop := errors.New("stop")
	var asked []string
	h.Hook = func(op, name string) error { asked = append(asked, op); return stop }
	before := list(t, path)
	_, openErr := h.Open(dir, "new", unix.O_WRONLY|unix.O_CREAT, 0o600, "new")
	_, truncErr := h.Open(dir, "f", unix.O_WRONLY|unix.O_TRUNC, 0, "f")
	_, tmpErr := h.Open(dir, ".", unix.O_WRONLY|unix.O_TMPFILE, 0o600, "tmp")
	_, writeErr := h.Pwrite(f, []byte("x"), 0)
	_, copyErr := h.CopyRange(f, 0, f, 10, 5)
	all := []error{openErr, truncErr, tmpErr, writeErr, copyErr,
		h.Mkdir(dir, "d", 0o700), h.Mknod(dir, "p", unix.S_IFIFO, 0), h.Symlink("f", dir, "s"),
		h.Unlink(dir, "f"), h.Rmdir(dir, "d"), h.Rename(dir, "f", dir, "g", 0), h.RenameNew(dir, "f", dir, "g"),
		h.Link(dir, "f", dir, "g"), h.LinkFile(f, dir, "g"), h.SyncDir(dir), h.Write(f, []byte("x")),
		h.Truncate(f, 5), h.Allocate(f, 0, 0, 5), h.Sync(f, true), h.Chmod(dir, "f", 0), h.Chown(dir, "f", 0, 0),
		h.Utimes(dir, "f", &now, &now), h.Fchmod(f, 0), h.Fchown(f, 0, 0), h.Futimes(f, &now, &now),
		h.Setxattr(dir, "f", "user.a", nil, 0), h.Removexattr(dir, "f", "user.a"), h.CopyMeta(f, f),
	}
	for i, err := range all {
		if err != stop {
			t.Errorf("operation %d (%s): %v", i, asked[i], err)
		}
	}
	if len(asked) != len(all) {
		t.Errorf("%d operations asked %q", len(all), asked)
	}
	if after := list(t, path); !slices.Equal(before, after) {
		t.Errorf("%q became %q", before, after)
	}
	asked = nil
	h.Stat(dir, "f")
	h.ReadDir(dir)
	if r, err := h.Open(dir, "f", unix.O_RDWR, 0, "f"); err != nil || len(asked) > 0 {
		t.Errorf("looking asked %q, %v", asked, err)
	} else {
		r.Close()
	}
}

func list(t *testing.T, path string) (all []string) {
	t.Helper()
	entries, err := os.ReadDir(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		fi, err := e.Info()
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, e.Name(), fi.Mode().String(), fi.ModTime().String(), string(rune('0'+fi.Size())))
	}
	return all
}

// Links are not followed, and no name leads out.
func TestBeneath(t *testing.T) {
	h, path, dir := folder(t)
	out := t.TempDir()
	for _, err := range []error{os.WriteFile(filepath.Join(out, "f"), []byte("x"), 0o600),
		os.Symlink(out, filepath.Join(path, "dir")), os.Symlink(filepath.Join(out, "f"), filepath.Join(path, "file"))} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"file", "dir/f", "dir/", "..", "../x", out} {
		for _, flags := range []int{unix.O_RDONLY, unix.O_WRONLY | unix.O_CREAT, unix.O_PATH | unix.O_DIRECTORY} {
			if f, err := h.Open(dir, name, flags, 0o600, name); err == nil {
				t.Errorf("%q opened with %#x", name, flags)
				f.Close()
			}
		}
	}
	if err := h.Chmod(dir, "file", 0o777); err != unix.EOPNOTSUPP {
		t.Errorf("chmod of a link: %v", err)
	}
	if fi, err := os.Stat(filepath.Join(out, "f")); err != nil || fi.Mode() != 0o600 {
		t.Error(fi.Mode(), err)
	}
}

func TestCopyMeta(t *testing.T) {
	h, _, dir := folder(t)
	f, g := make1(t, h, dir, "f"), make1(t, h, dir, "g")
	then := time.Unix(1e9, 123456789)
	for _, err := range []error{h.Setxattr(dir, "f", "user.long", make([]byte, 1000), 0), h.Setxattr(dir, "f", "user.b", []byte("v"), 0),
		h.Chmod(dir, "f", 0o2751), h.Utimes(dir, "f", &then, &then), h.CopyMeta(f, g)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	a, _ := h.Stat(dir, "f")
	b, err := h.Stat(dir, "g")
	if err != nil || a.Mode != b.Mode || b.Mode&0o7777 != 0o2751 || Nanos(b.Mtime) != then.UnixNano() || Nanos(b.Atime) != then.UnixNano() {
		t.Fatalf("%+v\n%+v %v", a, b, err)
	}
	names, err := h.Listxattr(dir, "g")
	slices.Sort(names)
	if err != nil || !slices.Equal(names, []string{"user.b", "user.long"}) {
		t.Fatal(names, err)
	}
	if v, err := h.Getxattr(dir, "g", "user.long"); err != nil || len(v) != 1000 {
		t.Fatal(len(v), err)
	}
	if _, err := h.Getxattr(dir, "", "user.none"); err != unix.ENODATA {
		t.Fatal(err)
	}
}

func TestRenameNew(t *testing.T) {
	h, path, dir := folder(t)
	make1(t, h, dir, "f")
	make1(t, h, dir, "g")
	if err := h.RenameNew(dir, "f", dir, "g"); err != unix.EEXIST {
		t.Fatal(err)
	}
	if err := h.RenameNew(dir, "f", dir, "h"); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(path, "h")); err != nil {
		t.Fatal(err)
	}
	if err := h.SyncDir(dir); err != nil {
		t.Fatal(err)
	}
	if s, err := h.Readlink(dir, "h"); err == nil {
		t.Fatal(s)
	}
}
