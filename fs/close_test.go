package fs

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

func (m *live) shell(script string) *exec.Cmd {
	cmd := exec.Command("sh", "-ec", script)
	cmd.Dir = m.Mnt
	return cmd
}

// What reaches the server when files are closed: FLUSH for every close of every duplicate, RELEASE once, at the end.
func TestClose(t *testing.T) {
	create := func(t *testing.T, m *live) *os.File {
		f, err := os.Create(m.path("f"))
		ok(t, err)
		return f
	}
	for _, c := range []struct {
		name string
		do   func(t *testing.T, m *live)
		want string // requests in their order; those in brackets may come anywhere after
	}{
		{"dup and two closes", func(t *testing.T, m *live) {
			f := create(t, m)
			fd, err := unix.Dup(int(f.Fd()))
			ok(t, err)
			ok(t, f.Close())
			_, err = unix.Write(fd, []byte("x"))
			ok(t, err)
			ok(t, unix.Close(fd))
		}, "CREATE FLUSH WRITE FLUSH RELEASE"},
		{"shell redirection", func(t *testing.T, m *live) {
			out, err := m.shell("{ echo a; /bin/echo b; } > f").CombinedOutput()
			if err != nil {
				t.Fatal(err, string(out))
			}
			wantFile(t, m.host("f"), []byte("a\nb\n"))
		}, "CREATE FLUSH WRITE WRITE FLUSH FLUSH RELEASE"},
		{"killed writer", func(t *testing.T, m *live) {
			cmd := m.clientCmd("hold", m.path("f"))
			out, err := cmd.StdoutPipe()
			ok(t, err)
			in, err := cmd.StdinPipe()
			ok(t, err)
			defer in.Close()
			ok(t, cmd.Start())
			_, err = bufio.NewReader(out).ReadString('\n')
			ok(t, err)
			ok(t, cmd.Process.Kill())
			cmd.Wait()
			wantFile(t, m.host("f"), []byte("half a file"))
		}, "CREATE WRITE FLUSH RELEASE"},
		{"fork and exec with the file open", func(t *testing.T, m *live) {
			f := create(t, m)
			cmd := exec.Command("true")
			cmd.ExtraFiles = []*os.File{f}
			ok(t, cmd.Run())
			_, err := f.WriteString("after")
			ok(t, err)
			ok(t, f.Close())
		}, "CREATE FLUSH FLUSH WRITE FLUSH RELEASE"}, // at exec, and when the child ends
		{"close then rename", func(t *testing.T, m *live) {
			f := create(t, m)
			ok(t, f.Close())
			ok(t, os.Rename(m.path("f"), m.path("g")))
		}, "CREATE FLUSH RENAME [RELEASE]"},
		{"rename then close", func(t *testing.T, m *live) {
			f := create(t, m)
			ok(t, os.Rename(m.path("f"), m.path("g")))
			_, err := f.WriteString("x")
			ok(t, err)
			ok(t, f.Close())
			wantFile(t, m.host("g"), []byte("x"))
		}, "CREATE RENAME WRITE FLUSH RELEASE"},
		{"unlink then write", func(t *testing.T, m *live) {
			f := create(t, m)
			ok(t, os.Remove(m.path("f")))
			_, err := f.WriteString("x")
			ok(t, err)
			ok(t, f.Chmod(0o600))
			st, err := f.Stat()
			ok(t, err)
			if sys := st.Sys().(*syscall.Stat_t); sys.Nlink != 0 || sys.Size != 1 || sys.Mode&0o777 != 0o600 {
				t.Errorf("nlink %d, size %d, mode %o", sys.Nlink, sys.Size, sys.Mode)
			}
			ok(t, f.Close())
			if left, _ := os.ReadDir(m.Store); slices.ContainsFunc(left, func(e os.DirEntry) bool { return e.Name() != ".excpfs" }) {
				t.Errorf("left in the store: %v", left)
			}
		}, "CREATE UNLINK WRITE SETATTR FLUSH RELEASE"},
		{"truncating reopen", func(t *testing.T, m *live) {
			f := create(t, m)
			_, err := f.WriteString("long content")
			ok(t, err)
			ok(t, f.Close())
			f, err = os.OpenFile(m.path("f"), os.O_WRONLY|os.O_TRUNC, 0)
			ok(t, err)
			if st := stat(t, m.path("f")); st.Size != 0 {
				t.Errorf("size %d", st.Size)
			}
			_, err = f.WriteString("x")
			ok(t, err)
			ok(t, f.Close())
			wantFile(t, m.host("f"), []byte("x"))
		}, "CREATE WRITE FLUSH OPEN-TRUNC WRITE FLUSH RELEASE [RELEASE]"},
		{"fsync", func(t *testing.T, m *live) {
			f := create(t, m)
			ok(t, f.Sync())
			ok(t, f.Close())
		}, "CREATE FSYNC FLUSH RELEASE"},
		{"read only", func(t *testing.T, m *live) {
			ok(t, create(t, m).Close())
			wantFile(t, m.path("f"), nil)
		}, "CREATE FLUSH OPEN RELEASE [RELEASE]"},
	} {
		t.Run(c.name, func(t *testing.T) {
			modes(t, func(t *testing.T, s setup) {
				s.Trace = filepath.Join(tempDir(t), "trace")
				m := mountStore(t, s)
				c.do(t, m)
				want := strings.Fields(c.want)
				got := words(m.trace(t, "RELEASE"))
				if !s.NoPassthrough { // WRITE does not pass the server
					want = slices.DeleteFunc(want, func(w string) bool { return w == "WRITE" })
				}
				if err := inOrder(got, want); err != nil {
					t.Errorf("%v\ngot  %v\nwant %v", err, got, want)
				}
			})
		})
	}
}

// words are the first words of the lines that the close table is about.
func words(lines []string) []string {
	var w []string
	for _, l := range lines {
		word, _, _ := strings.Cut(l, " ")
		word, _, _ = strings.Cut(word, "+")
		if word != "READ" && word != "GETXATTR" {
			w = append(w, word)
		}
	}
	return w
}

// inOrder compares requests. RELEASE is sent in the background, so it is only counted where it stands in brackets or last.
func inOrder(got, want []string) error {
	loose := func(list []string) (strict []string) {
		for _, w := range list {
			if !strings.Contains(w, "RELEASE") {
				strict = append(strict, w)
			}
		}
		return strict
	}
	if !slices.Equal(loose(got), loose(want)) {
		return errors.New("other requests")
	}
	if last := want[len(want)-1]; last == "RELEASE" && got[len(got)-1] != last {
		return errors.New("RELEASE is not the last")
	}
	return nil
}

// A mapping keeps a file open after the last close: what is stored later arrives without a FLUSH.
func TestCloseMapped(t *testing.T) {
	m := mountStore(t, setup{NoPassthrough: true, Trace: filepath.Join(tempDir(t), "trace")})
	m.client(t, "mmap-write", m.path("f"), fmt.Sprint(1<<20))
	got := words(m.trace(t, "RELEASE f"))
	wantFile(t, m.host("f"), filled(1<<20))
	last := slices.Index(got, "FLUSH")
	for i, w := range got {
		if w == "FLUSH" {
			last = i
		}
	}
	if !slices.Contains(got[last:], "WRITE") {
		t.Errorf("no WRITE after the last FLUSH: %v", got)
	}
}

func TestUnmountBusy(t *testing.T) {
	m := mountStore(t, setup{})
	f, err := os.Create(m.path("f"))
	ok(t, err)
	if os.Geteuid() == 0 {
		wantErr(t, unix.Unmount(m.Mnt, 0), unix.EBUSY)
	}
	ok(t, Unmount(m.Mnt)) // lazily
	if at, err := mountAt(m.Mnt); err != nil || at != nil {
		t.Errorf("still mounted: %v, %v", at, err)
	}
	_, err = f.WriteString("served until closed")
	ok(t, err)
	ok(t, f.Close())
	if err := <-m.ended; err != nil {
		t.Errorf("server: %v", err)
	}
	m.ended <- nil
	wantFile(t, m.host("f"), []byte("served until closed"))
}

// A full host says so to the writer.
func TestNoSpace(t *testing.T) {
	needRoot(t)
	modes(t, func(t *testing.T, s setup) {
		s.Store = filepath.Join(tempDir(t), "small")
		ok(t, os.Mkdir(s.Store, 0o755))
		ok(t, unix.Mount("tmpfs", s.Store, "tmpfs", 0, "size=2m"))
		t.Cleanup(func() { unix.Unmount(s.Store, unix.MNT_DETACH) })
		m := mountStore(t, s)
		f, err := os.Create(m.path("f"))
		ok(t, err)
		buf := filled(1 << 20)
		var total int
		for err == nil && total < 8<<20 {
			var n int
			n, err = f.Write(buf)
			total += n
		}
		wantErr(t, err, unix.ENOSPC)
		f.Close()
		if st := stat(t, m.path("f")); st.Size != int64(total) {
			t.Errorf("size %d, written %d", st.Size, total)
		}
		wantErr(t, os.WriteFile(m.path("g"), buf, 0o644), unix.ENOSPC)
	})
}
