package fs

import (
	"crypto/sha256"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

func TestMapped(t *testing.T) {
	modes(t, func(t *testing.T, s setup) {
		m := mountStore(t, s)
		const size = 3<<20 + 100
		want := fmt.Sprintf("%x\n", sha256.Sum256(filled(size)))

		writeFile(t, m.path("written"), filled(size))
		if got := m.client(t, "mmap-sum", m.path("written")); got != want {
			t.Errorf("mapped after write: %s", got)
		}
		m.client(t, "mmap-write", m.path("mapped"), fmt.Sprint(size))
		wantFile(t, m.path("mapped"), filled(size))
		wantFile(t, m.host("mapped"), filled(size))

		writeFile(t, m.path("private"), make([]byte, size))
		if got := m.client(t, "mmap-private", m.path("private")); got != want {
			t.Errorf("private mapping: %s", got)
		}
		wantFile(t, m.path("private"), make([]byte, size))
	})
}

func TestDirectIO(t *testing.T) {
	modes(t, func(t *testing.T, s setup) {
		m := mountStore(t, s)
		m.client(t, "direct", m.path("file"))
		if st := stat(t, m.host("file")); st.Size != 4<<20 {
			t.Errorf("size %d", st.Size)
		}
	})
}

func TestAppendByTwo(t *testing.T) {
	modes(t, func(t *testing.T, s setup) {
		m := mountStore(t, s)
		const n = 300
		var both sync.WaitGroup
		for _, who := range []string{"a", "b"} {
			both.Go(func() { m.client(t, "append", m.path("log"), who, fmt.Sprint(n)) })
		}
		both.Wait()
		b, err := os.ReadFile(m.path("log"))
		ok(t, err)
		next := map[string]int{}
		for line := range strings.Lines(string(b)) {
			if want := fmt.Sprintf("%s%014d\n", line[:1], next[line[:1]]); line != want {
				t.Fatalf("record %q where %q was expected", line, want)
			}
			next[line[:1]]++
		}
		if next["a"] != n || next["b"] != n {
			t.Errorf("records: %v", next)
		}
	})
}

func TestTmpfileLinked(t *testing.T) {
	modes(t, func(t *testing.T, s setup) {
		m := mountStore(t, s)
		fd, err := unix.Open(m.Mnt, unix.O_TMPFILE|unix.O_RDWR, 0o640)
		ok(t, err)
		defer unix.Close(fd)
		_, err = unix.Pwrite(fd, []byte("no name yet"), 0)
		ok(t, err)
		var st unix.Stat_t
		ok(t, unix.Fstat(fd, &st))
		if st.Nlink != 0 || st.Mode&0o777 != 0o640 {
			t.Errorf("nlink %d, mode %o", st.Nlink, st.Mode)
		}
		ok(t, unix.Fchmod(fd, 0o600))
		ok(t, unix.Linkat(unix.AT_FDCWD, fmt.Sprintf("/proc/self/fd/%d", fd), unix.AT_FDCWD, m.path("named"), unix.AT_SYMLINK_FOLLOW))
		wantFile(t, m.path("named"), []byte("no name yet"))
		ok(t, unix.Fstat(fd, &st))
		if got := stat(t, m.path("named")); st.Nlink != 1 || got.Ino != st.Ino || got.Mode&0o777 != 0o600 {
			t.Errorf("nlink %d, inode %d and %d, mode %o", st.Nlink, st.Ino, got.Ino, got.Mode)
		}
	})
}

func TestRanges(t *testing.T) {
	modes(t, func(t *testing.T, s setup) {
		m := mountStore(t, s)
		f, err := os.OpenFile(m.path("f"), os.O_RDWR|os.O_CREATE, 0o644)
		ok(t, err)
		defer f.Close()
		fd := int(f.Fd())

		_, err = f.WriteAt(filled(64<<10), 1<<20) // a hole before it
		ok(t, err)
		for _, c := range []struct {
			whence     int
			from, want int64
		}{{unix.SEEK_DATA, 0, 1 << 20}, {unix.SEEK_HOLE, 0, 0}, {unix.SEEK_HOLE, 1 << 20, 1<<20 + 64<<10}} {
			if got, err := unix.Seek(fd, c.from, c.whence); err != nil || got != c.want {
				t.Errorf("seek %d from %d: %d, %v, expected %d", c.whence, c.from, got, err, c.want)
			}
		}
		_, err = unix.Seek(fd, 2<<20, unix.SEEK_DATA)
		wantErr(t, err, unix.ENXIO)

		ok(t, unix.Fallocate(fd, unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, 1<<20, 16<<10))
		want := filled(64 << 10)
		clear(want[:16<<10])
		got := make([]byte, 64<<10)
		_, err = f.ReadAt(got, 1<<20)
		ok(t, err)
		wantBytes(t, "punched", got, want)

		ok(t, unix.Fallocate(fd, unix.FALLOC_FL_KEEP_SIZE, 0, 8<<20))
		if st := stat(t, m.path("f")); st.Size != 1<<20+64<<10 {
			t.Errorf("size %d after KEEP_SIZE", st.Size)
		}
		ok(t, unix.Fallocate(fd, 0, 0, 4<<20))
		if st := stat(t, m.path("f")); st.Size != 4<<20 {
			t.Errorf("size %d after fallocate", st.Size)
		}
		wantErr(t, unix.Fallocate(fd, 1<<20, 0, 1), unix.EOPNOTSUPP)
	})
}

func TestCopyFileRange(t *testing.T) {
	modes(t, func(t *testing.T, s setup) {
		m := mountStore(t, s)
		writeFile(t, m.path("from"), filled(3<<20))
		from, err := os.Open(m.path("from"))
		ok(t, err)
		defer from.Close()
		to, err := os.Create(m.path("to"))
		ok(t, err)
		off, toOff := int64(1<<20), int64(5)
		for left := 2 << 20; left > 0; {
			n, err := unix.CopyFileRange(int(from.Fd()), &off, int(to.Fd()), &toOff, left, 0)
			if err != nil || n == 0 {
				t.Fatal(n, err)
			}
			left -= n
		}
		ok(t, to.Close())
		wantFile(t, m.path("to"), append(make([]byte, 5), filled(3 << 20)[1<<20:]...))
	})
}
