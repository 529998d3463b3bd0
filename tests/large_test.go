package tests

import (
	"archive/zip"
	"bytes"
	byteorder "encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
)

var little = byteorder.LittleEndian

// largeFile is a torch zip of two storages, the second of which begins beyond 4 GiB: zip64 fields
// and wide descriptors, as PyTorch writes them. The first is holes but for some islands of weights.
type largeFile struct {
	f       *os.File
	at      int64
	central []byte
	entries uint64
}

const (
	largeElems  = 1<<30 + 1<<18 // 4 GiB and a little
	islandElems = 1 << 18
	islands     = 16
)

func (l *largeFile) write(t *testing.T, b []byte) {
	t.Helper()
	if _, err := l.f.WriteAt(b, l.at); err != nil {
		t.Fatal(err)
	}
	l.at += int64(len(b))
}

// record writes a record whose payload is written by fill, and returns where that begins.
func (l *largeFile) record(t *testing.T, name string, n int64, fill func(at int64)) (start int64) {
	t.Helper()
	header := l.at
	h := append([]byte("PK\x03\x04"), make([]byte, 26)...)
	little.PutUint16(h[6:], 0x808)
	little.PutUint16(h[26:], uint16(len(name)))
	wide := n >= math.MaxUint32 || header >= math.MaxUint32
	var extra []byte
	if wide {
		extra = append(little.AppendUint16([]byte{1, 0}, 8), make([]byte, 8)...)
	}
	pad := 64 - (int(header)+len(h)+len(name)+len(extra)+4)%64
	extra = append(little.AppendUint16(append(extra, "FB"...), uint16(pad)), bytes.Repeat([]byte{'Z'}, pad)...)
	little.PutUint16(h[28:], uint16(len(extra)))
	l.write(t, append(append(h, name...), extra...))
	start = l.at
	fill(start)
	l.at = start + n
	if err := l.f.Truncate(l.at); err != nil { // the end may be a hole
		t.Fatal(err)
	}
	sum := l.sum(t, start, n)
	d := little.AppendUint32([]byte("PK\x07\x08"), sum)
	if wide {
		d = little.AppendUint64(little.AppendUint64(d, uint64(n)), uint64(n))
	} else {
		d = little.AppendUint32(little.AppendUint32(d, uint32(n)), uint32(n))
	}
	l.write(t, d)
	l.entry(name, sum, n, header)
	return start
}

func (l *largeFile) entry(name string, sum uint32, n, header int64) {
	var extra []byte
	short := func(v int64) uint32 {
		if v < math.MaxUint32 {
			return uint32(v)
		}
		extra = little.AppendUint64(extra, uint64(v))
		return math.MaxUint32
	}
	c := append([]byte("PK\x01\x02"), make([]byte, 42)...)
	little.PutUint16(c[8:], 0x808)
	little.PutUint32(c[16:], sum)
	little.PutUint32(c[24:], short(n))
	little.PutUint32(c[20:], little.Uint32(c[24:]))
	if n >= math.MaxUint32 {
		extra = little.AppendUint64(extra, uint64(n))
	}
	little.PutUint32(c[42:], short(header))
	little.PutUint16(c[28:], uint16(len(name)))
	if extra != nil {
		extra = append(little.AppendUint16([]byte{1, 0}, uint16(len(extra))), extra...)
		little.PutUint16(c[30:], uint16(len(extra)))
	}
	l.central = append(append(append(l.central, c...), name...), extra...)
	l.entries++
}

// sum reads the payload back; what is a hole is zeros.
func (l *largeFile) sum(t *testing.T, at, n int64) uint32 {
	t.Helper()
	h := crc32.NewIEEE()
	if _, err := io.CopyBuffer(h, io.NewSectionReader(l.f, at, n), make([]byte, 1<<20)); err != nil {
		t.Fatal(err)
	}
	return h.Sum32()
}

func (l *largeFile) finish(t *testing.T) {
	dir := l.at
	l.write(t, l.central)
	end64 := l.at
	e := little.AppendUint64([]byte("PK\x06\x06"), 44)
	e = append(e, make([]byte, 12)...)
	for _, v := range []uint64{l.entries, l.entries, uint64(len(l.central)), uint64(dir)} {
		e = little.AppendUint64(e, v)
	}
	e = little.AppendUint64(append(e, "PK\x06\x07\x00\x00\x00\x00"...), uint64(end64))
	e = append(little.AppendUint32(e, 1), "PK\x05\x06\x00\x00\x00\x00"...)
	e = little.AppendUint16(little.AppendUint16(e, uint16(l.entries)), uint16(l.entries))
	e = little.AppendUint32(little.AppendUint32(e, uint32(len(l.central))), uint32(min(dir, math.MaxUint32)))
	l.write(t, append(e, 0, 0))
}

// largePickle is the pickle of {"large": [n/1024, 1024], "late": [512, 512]}, both float32.
func largePickle(n int64) []byte {
	text := func(s string) string { return "X" + string(little.AppendUint32(nil, uint32(len(s)))) + s }
	num := func(n int64) string { return "I" + strconv.FormatInt(n, 10) + "\n" }
	tensor := func(key string, rows, columns int64) string {
		return "ctorch._utils\n_rebuild_tensor_v2\n((" + text("storage") + "ctorch\nFloatStorage\n" + text(key) + text("cpu") +
			num(rows*columns) + "tQK\x00" + num(rows) + num(columns) + "\x86" + num(columns) + "K\x01\x86\x89ccollections\nOrderedDict\n)RtR"
	}
	return []byte("\x80\x02}(" + text("large") + tensor("0", n/1024, 1024) + text("late") + tensor("1", 512, 512) + "u.")
}

// makeLarge writes the file; step moves the weights.
func makeLarge(t *testing.T, path string, step float64) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	l := &largeFile{f: f}
	rng, move := rand.New(rand.NewPCG(1, 2)), rand.New(rand.NewPCG(3, uint64(step)))
	weights := func(at int64, n int) {
		var b []byte
		for range n {
			b = little.AppendUint32(b, math.Float32bits(float32(0.02*rng.NormFloat64()+0.002*step*move.NormFloat64())))
		}
		if _, err := f.WriteAt(b, at); err != nil {
			t.Fatal(err)
		}
	}
	pickle := largePickle(largeElems)
	l.record(t, "large/data.pkl", int64(len(pickle)), func(at int64) { f.WriteAt(pickle, at) })
	l.record(t, "large/data/0", 4*largeElems, func(at int64) {
		for k := range int64(islands) {
			weights(at+4*k*((largeElems-islandElems)/(islands-1)), islandElems)
		}
	})
	l.record(t, "large/data/1", 4*512*512, func(at int64) { weights(at, 512*512) })
	l.record(t, "large/version", 2, func(at int64) { f.WriteAt([]byte("3\n"), at) })
	l.finish(t)
}

// TestLargeTorchFile packs a file of more than 4 GiB and reads it back, all within a fixed memory budget.
func TestLargeTorchFile(t *testing.T) {
	if testing.Short() {
		t.Skip("reads some 20 GB of holes")
	}
	packLarge(t, t.TempDir(), t.TempDir(), 1)
}

// TestLargeResidual goes on with a second one, which is a residual of the first.
func TestLargeResidual(t *testing.T) {
	if os.Getenv("EXCPFS_LONG") == "" {
		t.Skip("two files of 4 GiB take minutes: EXCPFS_LONG=1 runs it")
	}
	src, store := t.TempDir(), t.TempDir()
	packLarge(t, src, store, 1)
	packLarge(t, src, store, 2)
	contains(t, excpfs(t, 0, "inspect", filepath.Join(store, "2.pt")).stdout, "residual")
}

func packLarge(t *testing.T, src, store string, step int) {
	t.Helper()
	name := fmt.Sprintf("%d.pt", step)
	path := filepath.Join(src, name)
	makeLarge(t, path, float64(step-1))
	c := exec.Command(binary, "pack", path, store)
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("pack: %v\n%s", err, out)
	}
	// Maxrss counts kibibytes. What the program keeps is bounded by 64 MiB of cache and its buffers.
	if rss := c.ProcessState.SysUsage().(*syscall.Rusage).Maxrss >> 10; rss > 300 {
		t.Errorf("pack %s took %d MiB", name, rss)
	}
	m := remount(t, store)
	defer m.umount(t)
	if step == 1 { // without a base it is exact
		must(t, "cmp", m.path(name), path)
		return
	}
	z, err := zip.OpenReader(m.path(name))
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	for _, f := range z.File { // what was quantized has its own checksum
		r, err := f.Open()
		if err == nil {
			_, err = io.Copy(io.Discard, r)
		}
		if err != nil {
			t.Errorf("%s: %v", f.Name, err)
		}
	}
}
