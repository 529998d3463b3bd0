package fs

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

func TestRename(t *testing.T) {
	modes(t, func(t *testing.T, s setup) {
		m := mountStore(t, s)
		a, b := m.path("a"), m.path("b")
		writeFile(t, a, []byte("A"))
		writeFile(t, b, []byte("B"))
		inoA, inoB := stat(t, a).Ino, stat(t, b).Ino
		rename := func(flags uint) error { return unix.Renameat2(unix.AT_FDCWD, a, unix.AT_FDCWD, b, flags) }
		wantErr(t, rename(unix.RENAME_NOREPLACE), unix.EEXIST)
		wantErr(t, rename(unix.RENAME_WHITEOUT), unix.EINVAL)
		ok(t, rename(unix.RENAME_EXCHANGE))
		wantFile(t, a, []byte("B"))
		wantFile(t, b, []byte("A"))
		if stat(t, a).Ino != inoB || stat(t, b).Ino != inoA {
			t.Error("inode numbers did not move with their files")
		}
		f, err := os.Open(b)
		ok(t, err)
		defer f.Close()
		ok(t, os.Rename(a, b)) // over a file that is open
		got, err := io.ReadAll(f)
		ok(t, err)
		wantBytes(t, "replaced while open", got, []byte("A"))
		wantFile(t, b, []byte("B"))
		ok(t, os.MkdirAll(m.path("d/e"), 0o755))
		wantErr(t, os.Rename(m.path("d"), m.path("d/e/f")), unix.EINVAL)
		wantErr(t, os.Rename(b, m.path("d")), unix.EEXIST)
		wantErr(t, syscall.Rmdir(m.path("d")), unix.ENOTEMPTY)
	})
}

// A name that is renamed all the time is never missing for those who open it.
func TestRenameRace(t *testing.T) {
	m := mountStore(t, setup{})
	writeFile(t, m.path("now"), []byte("0"))
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := range 300 {
			os.WriteFile(m.path("next"), fmt.Append(nil, i), 0o644)
			os.Rename(m.path("next"), m.path("now"))
		}
	}()
	for reads := 0; ; reads++ {
		select {
		case <-done:
			return
		default:
		}
		if b, err := os.ReadFile(m.path("now")); err != nil || len(b) == 0 {
			t.Fatalf("read %d: %q, %v", reads, b, err)
		}
	}
}

func TestReadDir(t *testing.T) {
	m := mountStore(t, setup{})
	want := []string{".", ".."}
	for i := range 500 {
		name := fmt.Sprintf("file-%03d-%s", i, strings.Repeat("x", 100))
		writeFile(t, m.path(name), nil)
		want = append(want, name)
	}
	d, err := os.Open(m.Mnt)
	ok(t, err)
	defer d.Close()
	for range 2 { // the second after a rewind, with everything deleted meanwhile seen
		_, err := d.Seek(0, io.SeekStart)
		ok(t, err)
		got := dents(t, int(d.Fd()))
		if names := sorted(got); !slices.Equal(names, want) {
			t.Fatalf("%d names, expected %d", len(names), len(want))
		}
		for name, ino := range got {
			if name != ".." && ino != stat(t, m.path(name)).Ino {
				t.Fatalf("%s: number %d in the folder, %d by stat", name, ino, stat(t, m.path(name)).Ino)
			}
		}
		ok(t, os.Remove(m.path(want[len(want)-1])))
		want = want[:len(want)-1]
	}
	ok(t, d.Sync())
}

// dents reads raw directory entries: name to inode number.
func dents(t testing.TB, fd int) map[string]uint64 {
	t.Helper()
	got := map[string]uint64{}
	buf := make([]byte, 4096)
	for {
		n, err := unix.Getdents(fd, buf)
		ok(t, err)
		if n == 0 {
			return got
		}
		for b := buf[:n]; len(b) > 0; {
			size := int(b[16]) | int(b[17])<<8
			name, _, _ := bytes.Cut(b[19:size], []byte{0})
			var ino uint64
			for i := range 8 {
				ino |= uint64(b[i]) << (8 * i)
			}
			got[string(name)] = ino
			b = b[size:]
		}
	}
}
