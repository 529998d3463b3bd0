package fs

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// Side by side on the same bytes: a file of the host, the same file plain in the mount, the same sealed;
// with and without the kernel's page cache of it.
func BenchmarkRead(b *testing.B) {
	s := setup{Store: filepath.Join(tempDir(b), "store")}
	ok(b, os.Mkdir(s.Store, 0o755))
	data := sealedShapes(b, filepath.Join(s.Store, "sealed.excp"), [][]int64{{8192, 4096}})
	writeFile(b, filepath.Join(s.Store, "plain"), data)
	m := mountStore(b, s)
	for _, c := range []struct{ name, path string }{
		{"host", m.host("plain")}, {"plain", m.path("plain")}, {"sealed", m.path("sealed")},
	} {
		for _, cold := range []bool{true, false} {
			b.Run(c.name+map[bool]string{true: "/cold", false: "/hot"}[cold], func(b *testing.B) { readAll(b, c.path, data, cold) })
		}
	}
}

func readAll(b *testing.B, path string, want []byte, cold bool) {
	f, err := os.Open(path)
	ok(b, err)
	defer f.Close()
	b.SetBytes(int64(len(want)))
	buf := make([]byte, 1<<20)
	for b.Loop() {
		if cold {
			b.StopTimer()
			ok(b, unix.Fsync(int(f.Fd())))
			ok(b, unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED))
			b.StartTimer()
		}
		at := 0
		for at < len(want) {
			n, err := f.ReadAt(buf, int64(at))
			if err != nil && err != io.EOF {
				b.Fatal(err)
			}
			if at == 0 && !bytes.Equal(buf[:n], want[:n]) {
				b.Fatal("other bytes")
			}
			at += n
		}
	}
}

// Writing a checkpoint and closing it, against the same on the host.
func BenchmarkWrite(b *testing.B) {
	m := mountStore(b, setup{})
	n := mountStore(b, setup{NoPassthrough: true})
	for _, c := range []struct{ name, path string }{
		{"host", m.host("f")}, {"passthrough", m.path("f")}, {"requests", n.path("f")},
	} {
		b.Run(c.name, func(b *testing.B) {
			buf := make([]byte, 1<<20)
			b.SetBytes(64 << 20)
			for b.Loop() {
				f, err := os.OpenFile(c.path, os.O_WRONLY|os.O_CREATE, 0o644)
				ok(b, err)
				for range 64 {
					_, err := f.Write(buf)
					ok(b, err)
				}
				ok(b, f.Close())
			}
		})
	}
}
