package store

import (
	"bytes"
	"context"
	"io"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Handles of both forms give the same bytes by every way of reading, and the same answers.
func TestHandle(t *testing.T) {
	for _, form := range []Form{Plain, Sealed} {
		t.Run(formNames[form], func(t *testing.T) {
			e := newEnv(t)
			e.write("f", contentA)
			if form == Sealed {
				e.must(e.trySeal("f", nil))
			}
			d := e.s.Root()
			h, err := d.Open("f", unix.O_RDONLY)
			e.must(err)
			defer h.Release()
			if h.Sealed() != (form == Sealed) || (h.Fd() < 0) != (form == Sealed) {
				t.Fatalf("sealed %v, descriptor %d", h.Sealed(), h.Fd())
			}
			size := int64(len(contentA))
			for _, r := range [][2]int64{{0, 10}, {0, size}, {size - 5, 100}, {size, 1}, {100, 1}, {size + 10, 10}} {
				want := contentA[min(r[0], size):min(r[0]+r[1], size)]
				sl, err := h.ReadSlices(t.Context(), r[0], int(r[1]))
				e.must(err)
				if got := bytes.Join(sl.Bufs, nil); !bytes.Equal(got, want) {
					t.Errorf("slices of %v have %d bytes, want %d", r, len(got), len(want))
				}
				sl.Release()
				got := make([]byte, r[1])
				n, err := h.ReadAt(got, r[0])
				if !bytes.Equal(got[:n], want) || (n < len(got)) != (err == io.EOF) {
					t.Errorf("read of %v has %d bytes, %v", r, n, err)
				}
			}
			for _, c := range []struct {
				off    int64
				whence int
				want   int64
				err    error
			}{{0, unix.SEEK_DATA, 0, nil}, {7, unix.SEEK_HOLE, size, nil}, {size, unix.SEEK_DATA, 0, unix.ENXIO}} {
				got, err := h.Seek(c.off, c.whence)
				if err != c.err || err == nil && got != c.want {
					t.Errorf("seek %v gives %d, %v", c, got, err)
				}
			}
			_, to, err := d.Create("copy", unix.O_RDWR, 0o600, me)
			e.must(err)
			n, err := h.CopyTo(context.Background(), 10, to, 3, size)
			if err != nil || n != size-10 {
				t.Fatal(n, err)
			}
			e.must(to.Flush())
			e.must(to.Fsync(false))
			e.must(to.Fsync(true))
			to.Release()
			e.holds("copy", append(make([]byte, 3), contentA[10:]...))
			if _, err := h.CopyTo(context.Background(), 0, h, 0, 1); err == nil {
				t.Error("copied into a handle for reading")
			}
			if _, err := h.WriteAt([]byte("x"), 0); err == nil {
				t.Error("wrote through a handle for reading")
			}
			when := time.Unix(5, 6)
			at, err := h.SetAttr(SetAttr{Mode: ptr(uint32(0o604)), Mtime: &when, UID: &me.UID})
			e.must(err)
			if at.Mode != unix.S_IFREG|0o604 || at.Mtime.Sec != 5 || at.Mtime.Nsec != 6 || at.Size != uint64(size) {
				t.Fatalf("%+v", at)
			}
			if got := e.entry("f").Attr; got.Mode != at.Mode || got.Ino != at.Ino {
				t.Fatalf("%+v", got)
			}
			e.must(h.Fsync(false))
			e.must(d.Fsync())
		})
	}
}

func TestAllocate(t *testing.T) {
	e := newEnv(t)
	_, h, err := e.s.Root().Create("f", unix.O_RDWR, 0o600, me)
	e.must(err)
	e.must(h.Allocate(0, 0, 5000))
	at, err := h.Attr()
	if err != nil || at.Size != 5000 {
		t.Fatal(at.Size, err)
	}
	e.must(h.Allocate(unix.FALLOC_FL_KEEP_SIZE, 0, 1<<20))
	h.Release()
	e.holds("f", make([]byte, 5000))
	if st, err := e.s.Statfs(); err != nil || st.Blocks == 0 {
		t.Fatal(err)
	}
}

// Whoever waits for work hears of opening for writing, of closing and of queueing.
func TestWake(t *testing.T) {
	e := newEnv(t)
	drain := func() bool {
		select {
		case <-e.s.Wake():
			return true
		default:
			return false
		}
	}
	drain()
	_, h, err := e.s.Root().Create("f", unix.O_RDWR, 0o600, me)
	e.must(err)
	if !drain() {
		t.Error("silent at open")
	}
	h.Release()
	if !drain() {
		t.Error("silent at close")
	}
	r, err := e.s.Root().Open("f", unix.O_RDONLY)
	e.must(err)
	drain()
	r.Release()
	if !drain() {
		t.Error("silent when a reader goes, who kept the file from being sealed")
	}
}
