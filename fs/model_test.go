package fs

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// Any order of opens, reads, writes, truncations and closes by many handles of one file, sealed at the start, shows
// one content, and no open is refused.
func TestOneContent(t *testing.T) {
	modes(t, func(t *testing.T, s setup) {
		for seed := range uint64(3) {
			t.Run(fmt.Sprint(seed), func(t *testing.T) {
				_, path, data := withSealed(t, s)
				w := &walk{t: t, rnd: rand.New(rand.NewPCG(seed, 9)), path: path, want: bytes.Clone(data)}
				for range 400 {
					w.step()
				}
				for len(w.files) > 0 {
					w.close()
				}
				wantFile(t, path, w.want)
			})
		}
	})
}

// walk is a random walk with the content that is expected.
type walk struct {
	t     *testing.T
	rnd   *rand.Rand
	path  string
	want  []byte
	files []handle
}

type handle struct {
	*os.File
	flags int
}

func (w *walk) step() {
	w.t.Helper()
	switch n := w.rnd.IntN(12); {
	case n < 2 && len(w.files) < 5:
		w.open()
	case n < 3:
		w.close()
	case n < 7:
		w.read()
	case n < 10:
		w.write()
	case n < 11 && w.rnd.IntN(3) == 0:
		w.truncate()
	default:
		if st := stat(w.t, w.path); st.Size != int64(len(w.want)) {
			w.t.Fatalf("size %d, expected %d", st.Size, len(w.want))
		}
	}
}

func (w *walk) open() {
	flags := []int{unix.O_RDONLY, unix.O_RDONLY, unix.O_RDONLY, unix.O_WRONLY, unix.O_RDWR, unix.O_RDWR | unix.O_DIRECT}[w.rnd.IntN(6)]
	if w.rnd.IntN(15) == 0 && flags == unix.O_WRONLY {
		flags |= unix.O_TRUNC
		w.want = w.want[:0]
	}
	f, err := os.OpenFile(w.path, flags, 0)
	ok(w.t, err)
	w.files = append(w.files, handle{f, flags})
}

func (w *walk) close() {
	if len(w.files) == 0 {
		return
	}
	i := w.rnd.IntN(len(w.files))
	ok(w.t, w.files[i].Close())
	w.files = append(w.files[:i], w.files[i+1:]...)
}

// pick is an open handle without a flag, and a range that suits O_DIRECT.
func (w *walk) pick(not int) (f handle, off, n int, found bool) {
	for _, i := range w.rnd.Perm(len(w.files)) {
		if f = w.files[i]; f.flags&unix.O_ACCMODE != not {
			return f, 4096 * w.rnd.IntN(1+len(w.want)/4096), 4096 * (1 + w.rnd.IntN(60)), true
		}
	}
	return f, 0, 0, false
}

func (w *walk) read() {
	w.t.Helper()
	f, off, n, found := w.pick(unix.O_WRONLY)
	if !found {
		return
	}
	buf := aligned(n)
	k, err := unix.Pread(int(f.Fd()), buf, int64(off))
	ok(w.t, err)
	wantBytes(w.t, fmt.Sprintf("read of %d at %d by flags %#x", n, off, f.flags), buf[:k], w.want[min(off, len(w.want)):min(off+n, len(w.want))])
}

func (w *walk) write() {
	f, off, n, found := w.pick(unix.O_RDONLY)
	if !found {
		return
	}
	buf := aligned(n)
	for i := range buf {
		buf[i] = byte(w.rnd.Uint32())
	}
	k, err := unix.Pwrite(int(f.Fd()), buf, int64(off))
	if err != nil || k != n {
		w.t.Fatalf("write of %d at %d by flags %#x: %d, %v", n, off, f.flags, k, err)
	}
	if need := off + n - len(w.want); need > 0 {
		w.want = append(w.want, make([]byte, need)...)
	}
	copy(w.want[off:], buf)
}

func (w *walk) truncate() {
	size := w.rnd.IntN(len(w.want) + 8192)
	ok(w.t, os.Truncate(w.path, int64(size)))
	w.want = append(w.want[:min(size, len(w.want))], make([]byte, max(0, size-len(w.want)))...)
}
