package fs

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"excpfs/archive"
	"excpfs/codec"
	"excpfs/tensor"

	"golang.org/x/sys/unix"
)

// sealedFile writes the archive of a safetensors file of about 5 MB and returns the file.
func sealedFile(t testing.TB, path string) []byte {
	t.Helper()
	return sealedShapes(t, path, [][]int64{{1024, 1000}, {257}, {300, 1000}})
}

func sealedShapes(t testing.TB, path string, shapes [][]int64) []byte {
	t.Helper()
	data, layout := safetensorsOf(shapes)
	f, err := os.Create(path)
	ok(t, err)
	defer f.Close()
	w, err := archive.NewWriter(f)
	ok(t, err)
	ix := &archive.Index{Hash: sha256.Sum256(data), Format: layout.Format}
	ix.ID, ix.Size, ix.Schema = archive.ID(ix.Hash[:16]), layout.Size, layout.Schema()
	ix.Profile.Name, ix.Error = "exact", [3]float64{0, math.NaN(), math.NaN()}
	ok(t, layout.Gaps(func(off, n int64) error {
		ix.Verbatim = append(ix.Verbatim, data[off:off+n]...)
		return nil
	}))
	for _, info := range layout.Tensors {
		p := data[info.Offset : info.Offset+info.Length]
		sum := sha256.Sum256(p)
		at := archive.Tensor{Info: info, Method: uint8(codec.Exact), Base: -1, Weights: -1, Support: -1, Hash: [16]byte(sum[:16])}
		size := int(codec.ChunkElems(info.DType, info.Shape)) * info.DType.Width()
		for len(p) > 0 {
			n := min(size, len(p))
			b, err := w.Append(codec.EncodeExact(nil, p[:n], nil, info.DType))
			ok(t, err)
			at.Chunks = append(at.Chunks, b)
			p = p[n:]
		}
		ix.Tensors = append(ix.Tensors, at)
	}
	ok(t, w.Finish(ix, archive.Trailer{}))
	return data
}

func safetensorsOf(shapes [][]int64) ([]byte, *tensor.Layout) {
	rnd := rand.New(rand.NewPCG(1, 2))
	l := &tensor.Layout{Format: "safetensors"}
	var head []string
	var body []byte
	for i, shape := range shapes {
		n, _ := tensor.Product(shape)
		at := len(body)
		for range n {
			body = binary.LittleEndian.AppendUint32(body, math.Float32bits(float32(rnd.NormFloat64()*0.02)))
		}
		dims := strings.ReplaceAll(fmt.Sprint(shape), " ", ",")
		head = append(head, fmt.Sprintf(`"t%d":{"dtype":"F32","shape":%s,"data_offsets":[%d,%d]}`, i, dims, at, len(body)))
		l.Tensors = append(l.Tensors, tensor.Info{Name: fmt.Sprintf("t%d", i), DType: tensor.F32, Shape: shape, Offset: int64(at), Length: int64(len(body) - at)})
	}
	text := "{" + strings.Join(head, ",") + "}"
	text += strings.Repeat(" ", (8-len(text)%8)%8)
	file := binary.LittleEndian.AppendUint64(nil, uint64(len(text)))
	file = append(append(file, text...), body...)
	for i := range l.Tensors {
		l.Tensors[i].Offset += int64(8 + len(text))
	}
	l.Size = int64(len(file))
	return file, l
}

// withSealed mounts a store in which run/model.safetensors is sealed.
func withSealed(t *testing.T, s setup) (*live, string, []byte) {
	t.Helper()
	s.Store = filepath.Join(tempDir(t), "store")
	ok(t, os.MkdirAll(filepath.Join(s.Store, "run"), 0o755))
	data := sealedFile(t, filepath.Join(s.Store, "run", "model.safetensors.excp"))
	m := mountStore(t, s)
	return m, m.path("run", "model.safetensors"), data
}

func sum(b []byte) string { return fmt.Sprintf("%x\n", sha256.Sum256(b)) }

func TestSealedRead(t *testing.T) {
	modes(t, func(t *testing.T, s setup) {
		s.Trace = filepath.Join(tempDir(t), "trace")
		m, path, data := withSealed(t, s)
		st := stat(t, path)
		if st.Size != int64(len(data)) || st.Blocks == 0 || st.Blksize != blockSize {
			t.Errorf("size %d, blocks %d, blksize %d", st.Size, st.Blocks, st.Blksize)
		}
		wantFile(t, path, data)
		if got := m.client(t, "mmap-sum", path); got != sum(data) {
			t.Errorf("mapped: %s", got)
		}
		f, err := os.Open(path)
		ok(t, err)
		defer f.Close()
		rnd := rand.New(rand.NewPCG(3, 4))
		for range 300 {
			off, n := rnd.IntN(len(data)), rnd.IntN(200_000)
			b := make([]byte, n)
			k, err := f.ReadAt(b, int64(off))
			if want := min(n, len(data)-off); k != want || (err != nil && err != io.EOF) {
				t.Fatalf("pread %d at %d: %d, %v", n, off, k, err)
			}
			wantBytes(t, "pread", b[:k], data[off:off+k])
		}
		if n, err := f.ReadAt(make([]byte, 10), int64(len(data))); n != 0 || err != io.EOF {
			t.Errorf("read at the end: %d, %v", n, err)
		}
		// past the page cache
		fd, err := unix.Open(path, unix.O_RDONLY|unix.O_DIRECT, 0)
		ok(t, err)
		defer unix.Close(fd)
		b := make([]byte, 2<<20)
		n, err := unix.Pread(fd, b, 1<<20)
		ok(t, err)
		wantBytes(t, "O_DIRECT", b[:n], data[1<<20:3<<20])
		if names, _ := os.ReadDir(m.path("run")); len(names) != 1 || names[0].Name() != "model.safetensors" {
			t.Errorf("listing: %v", names)
		}
		for _, l := range m.trace(t, "RELEASE") {
			if strings.HasPrefix(l, "OPEN") && strings.Contains(l, "model") && strings.Contains(l, "passthrough") {
				t.Errorf("sealed file passed through: %s", l)
			}
		}
	})
}

// A signal to the reader does not end its read.
func TestSealedSignalled(t *testing.T) {
	m, path, data := withSealed(t, setup{})
	for range 3 {
		if got := m.client(t, "signalled", path); got != sum(data) {
			t.Errorf("read %s", got)
		}
	}
}

// The second read is the kernel's own.
func TestSealedKeepsCache(t *testing.T) {
	m, path, data := withSealed(t, setup{Trace: filepath.Join(tempDir(t), "trace")})
	reads := func() int { return strings.Count(strings.Join(m.trace(t, "OPEN"), "\n"), "READ") }
	wantFile(t, path, data)
	wantFile(t, path, data)
	before := reads()
	wantFile(t, path, data)
	if after := reads(); after != before {
		t.Errorf("%d READs for a file in the page cache", after-before)
	}
}

// A reader and a mapping see one content while a writer thaws the file under them.
func TestThawUnderReader(t *testing.T) {
	modes(t, func(t *testing.T, s setup) {
		m, path, data := withSealed(t, s)
		ino := stat(t, path).Ino
		r, err := os.Open(path)
		ok(t, err)
		defer r.Close()
		hold := m.clientCmd("mmap-hold", path)
		out, err := hold.StdoutPipe()
		ok(t, err)
		in, err := hold.StdinPipe()
		ok(t, err)
		hold.Stderr = os.Stderr
		ok(t, hold.Start())
		lines := bufio.NewReader(out)
		if line, _ := lines.ReadString('\n'); line != sum(data) {
			t.Errorf("mapped: %s", line)
		}

		w, err := os.OpenFile(path, os.O_RDWR, 0)
		ok(t, err)
		got := make([]byte, len(data))
		_, err = w.ReadAt(got, 0)
		ok(t, err)
		wantBytes(t, "thawed", got, data)
		want := bytes.Clone(data)
		copy(want[1<<20:], "changed by the writer")
		_, err = w.WriteAt([]byte("changed by the writer"), 1<<20)
		ok(t, err)

		_, err = r.ReadAt(got, 0)
		ok(t, err)
		wantBytes(t, "the old reader", got, want)
		fmt.Fprintln(in)
		if line, _ := lines.ReadString('\n'); line != sum(want) {
			t.Errorf("the mapping shows %s", line)
		}
		wantFile(t, path, want)
		ok(t, w.Close())
		in.Close()
		ok(t, hold.Wait())
		ok(t, r.Close())
		wantFile(t, path, want)
		wantFile(t, m.host("run", "model.safetensors"), want)
		if got := stat(t, path).Ino; got != ino {
			t.Errorf("inode number %d became %d", ino, got)
		}
	})
}

func TestSealedWriteOnly(t *testing.T) {
	modes(t, func(t *testing.T, s setup) {
		_, path, data := withSealed(t, s)
		w, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
		ok(t, err)
		_, err = w.WriteString("tail")
		ok(t, err)
		ok(t, w.Close())
		wantFile(t, path, append(bytes.Clone(data), "tail"...))
	})
}

func TestSealedTruncate(t *testing.T) {
	modes(t, func(t *testing.T, s setup) {
		_, path, data := withSealed(t, s)
		r, err := os.Open(path)
		ok(t, err)
		defer r.Close()
		ok(t, os.Truncate(path, 1<<20))
		wantFile(t, path, data[:1<<20])
		got, err := io.ReadAll(r)
		ok(t, err)
		wantBytes(t, "the old reader", got, data[:1<<20])
		ok(t, os.WriteFile(path, []byte("new"), 0o644)) // O_TRUNC
		wantFile(t, path, []byte("new"))
	})
}

func TestSealedNames(t *testing.T) {
	modes(t, func(t *testing.T, s setup) {
		m, path, data := withSealed(t, s)
		ino := stat(t, path).Ino
		r, err := os.Open(path)
		ok(t, err)
		defer r.Close()
		moved, linked := m.path("moved.safetensors"), m.path("run", "linked.safetensors")
		ok(t, os.Rename(path, moved))
		ok(t, os.Link(moved, linked))
		for _, p := range []string{moved, linked} {
			if st := stat(t, p); st.Ino != ino || st.Nlink != 2 {
				t.Errorf("%s: inode %d (was %d), nlink %d", p, st.Ino, ino, st.Nlink)
			}
			wantFile(t, p, data)
		}
		ok(t, os.Chmod(linked, 0o600))
		if got := stat(t, moved).Mode & 0o777; got != 0o600 {
			t.Errorf("mode %o by the other name", got)
		}
		ok(t, os.Remove(moved))
		ok(t, os.Remove(linked))
		got, err := io.ReadAll(r)
		ok(t, err)
		wantBytes(t, "unlinked while open", got, data)
		_, err = os.Stat(linked)
		wantErr(t, err, syscall.ENOENT)
	})
}

func TestSealedCopy(t *testing.T) {
	modes(t, func(t *testing.T, s setup) {
		m, path, data := withSealed(t, s)
		m.run(t, m.Mnt, "cp", "-a", path, m.path("copy"))
		wantFile(t, m.path("copy"), data)
		f, err := os.Open(path)
		ok(t, err)
		defer f.Close()
		end, err := unix.Seek(int(f.Fd()), 0, unix.SEEK_HOLE)
		if err != nil || end != int64(len(data)) {
			t.Errorf("hole at %d, %v", end, err)
		}
		n, err := unix.Getxattr(path, "user.excpfs.state", make([]byte, 100))
		if err != nil || n == 0 {
			t.Errorf("state: %d, %v", n, err)
		}
	})
}

// Damage is EIO where it is, with its cause in the log once, and nowhere else.
func TestSealedDamage(t *testing.T) {
	s := setup{Store: filepath.Join(tempDir(t), "store")}
	ok(t, os.Mkdir(s.Store, 0o755))
	file := filepath.Join(s.Store, "model.safetensors.excp")
	data := sealedFile(t, file)
	b, err := os.ReadFile(file)
	ok(t, err)
	b[2<<20] ^= 1 // in t0
	writeFile(t, file, b)
	m := mountStore(t, s)
	f, err := os.Open(m.path("model.safetensors"))
	ok(t, err)
	defer f.Close()
	for range 3 {
		_, err = f.ReadAt(make([]byte, 5<<20), 0)
		wantErr(t, err, unix.EIO)
	}
	tail := make([]byte, 300_000)
	_, err = f.ReadAt(tail, int64(len(data)-len(tail)))
	ok(t, err)
	wantBytes(t, "the undamaged tensor", tail, data[len(data)-len(tail):])
	if log := m.logged(t, "damaged at offset"); strings.Count(log, "damaged at offset") != 1 || !strings.Contains(log, "t0") {
		t.Errorf("log:\n%s", log)
	}
}
