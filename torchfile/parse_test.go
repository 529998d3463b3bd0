package torchfile

import (
	"archive/zip"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"runtime/metrics"
	"strconv"
	"strings"
	"testing"
	"testing/iotest"
	"time"
)

// Every storage of a zip lies where archive/zip sees its record.
func TestOffsets(t *testing.T) {
	for _, name := range fixtures(t) {
		b := fixture(t, name)
		l, err := parse(b)
		if err != nil || l.Format != Format {
			continue
		}
		z, err := zip.NewReader(bytes.NewReader(b), int64(len(b)))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		records := map[int64]*zip.File{}
		for _, f := range z.File {
			at, err := f.DataOffset()
			if err != nil {
				t.Fatal(err)
			}
			records[at] = f
		}
		for _, x := range l.Tensors {
			f := records[x.Offset]
			if f == nil || !strings.Contains(f.Name, "/data/") || int64(f.UncompressedSize64) != x.Length || f.Method != zip.Store {
				t.Errorf("%s: %s is not a record: %+v", name, x.Name, f)
			}
		}
	}
}

// The same objects saved in several ways are the same storages.
func TestSameObject(t *testing.T) {
	storages := func(name string) map[string]string {
		b := fixture(t, name)
		l, err := parse(b)
		if err != nil {
			t.Fatal(err)
		}
		m := map[string]string{}
		for _, x := range l.Tensors {
			m[x.Name] = fmt.Sprintf("%s %v %x", x.DType, x.Shape, b[x.Offset:][:x.Length])
		}
		return m
	}
	for _, same := range [][]string{
		{"plain.pt", "proto4.pt", "legacy.pt"},
		{"shared.pt", "object.pt", "legacy_shared.pt"},
		{"optimizer.pt", "legacy_optimizer.pt"},
		{"v1.6.pt", "v2.1.pt", "v2.7.pt", "wide.pt", "wide_bare.pt", "bare.pt", "no_zip64.pt", "no_descriptor.pt", "false_crc.pt"},
	} {
		want := storages(same[0])
		for _, name := range same[1:] {
			if got := storages(name); !reflect.DeepEqual(got, want) {
				t.Errorf("%s: %v, want %v", name, got, want)
			}
		}
	}
	// 1 to 12 as float32, in order
	if w := storages("plain.pt")["model.layers.0.weight"]; !strings.HasPrefix(w, "F32 [3 4] 0000803f00000040000040400000804") {
		t.Error(w)
	}
}

func TestSniff(t *testing.T) {
	for _, name := range fixtures(t) {
		b := fixture(t, name)
		if got := Sniff(b[:32]); got != (name != "raw_first.distcp") {
			t.Errorf("%s: %v", name, got)
		}
	}
	for _, head := range []string{"", "PK", "PK\x05\x06", "\x80", "\x80\x02", "\x80\x02\x8a\x0a", "\x80\x02}q\x00.", strings.Repeat("\x95", 20)} {
		if Sniff([]byte(head)) {
			t.Errorf("%q passes", head)
		}
	}
}

// A file that was cut anywhere is refused.
func TestCut(t *testing.T) {
	for _, name := range []string{"shared.pt", "repacked.pt", "legacy_shared.pt", "tensor.pt", "object.pt"} {
		b := fixture(t, name)
		for n := range b {
			if l, err := parse(b[:n]); !isMalformed(err) {
				t.Fatalf("%s cut to %d bytes: %v, %v", name, n, l, err)
			}
		}
	}
	b := fixture(t, "zips.distcp")
	pass := 0
	for n := range b {
		if _, err := parse(b[:n]); err == nil {
			pass++
		} else if !isMalformed(err) {
			t.Fatal(err)
		}
	}
	if pass != 4+1 { // between two of the five items, and behind the zip in the last one's payload
		t.Errorf("zips.distcp: %d cuts pass", pass)
	}
}

// Whatever a byte is changed to, the layout is sound or refused, and little is allocated.
func TestFlip(t *testing.T) {
	for _, name := range []string{"shared.pt", "repacked.pt", "legacy_shared.pt", "wide_bare.pt", "zips.distcp"} {
		b := fixture(t, name)
		for i := range b {
			for _, flip := range []byte{0x01, 0xff} {
				b[i] ^= flip
				before := allocated()
				l, err := parse(b)
				if n := allocated() - before; n > 1<<20 {
					t.Errorf("%s, byte %d ^ %#x: %d bytes allocated", name, i, flip, n)
				}
				if err == nil {
					err = l.Check()
				} else if isMalformed(err) {
					err = nil
				}
				if err != nil {
					t.Fatalf("%s, byte %d ^ %#x: %v", name, i, flip, err)
				}
				b[i] ^= flip
			}
		}
	}
}

// allocated is how many bytes were allocated so far.
func allocated() uint64 {
	s := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(s)
	return s[0].Value.Uint64()
}

// A fault of the reader is not a verdict about the file.
func TestReadError(t *testing.T) {
	for _, name := range []string{"shared.pt", "legacy.pt", "raw_first.distcp", "repacked.pt"} {
		b := fixture(t, name)
		for reads := 0; ; reads++ {
			r := &failing{r: bytes.NewReader(b), left: reads}
			_, err := Parse(r, int64(len(b)))
			if err == nil {
				break
			}
			if isMalformed(err) || !errors.Is(err, iotest.ErrTimeout) {
				t.Fatalf("%s after %d reads: %v", name, reads, err)
			}
			if reads > 1000 {
				t.Fatal("no end")
			}
		}
		if strings.HasPrefix(name, "legacy") {
			continue
		}
		if _, err := Parse(bytes.NewReader(b), int64(len(b))+100); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%s is shorter than it says: %v", name, err)
		}
	}
}

// failing fails after some reads.
type failing struct {
	r    io.ReaderAt
	left int
}

func (f *failing) ReadAt(p []byte, off int64) (int, error) {
	if f.left--; f.left < 0 {
		return 0, iotest.ErrTimeout
	}
	return f.r.ReadAt(p, off)
}

func TestOptimizers(t *testing.T) {
	groups := []Group{{Params: []string{"0", "1"}}, {Params: []string{"2", "3", "4", "5"}}}
	for name, want := range map[string][]Groups{
		"optimizer.pt":        {{"", groups}},
		"legacy_optimizer.pt": {{"", groups}},
		"lightning.pt":        {{"optimizer_states.0", groups}},
		"plain.pt":            nil,
		"loop.pt":             nil,
		"zips.distcp":         nil,
	} {
		b := fixture(t, name)
		got, err := Optimizers(bytes.NewReader(b), int64(len(b)))
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
	b := append(fixture(t, "tensor.pt"), fixture(t, "optimizer.pt")...)
	if got, err := Optimizers(bytes.NewReader(b), int64(len(b))); err != nil || len(got) != 1 || got[0].Path != "1" {
		t.Errorf("distcp: %v, %v", got, err)
	}
	names := "\x80\x02}(U\x05state}(U\x05a.wt1}uU\x0cparam_groups](}(U\x06params](U\x05a.wt1U\x03b.xeU\x0bparam_names](U\x03foo\x88eueu."
	f := zipOf(t, []byte(names))
	got, err := Optimizers(bytes.NewReader(f), int64(len(f)))
	want := []Groups{{"", []Group{{[]string{"a.wt1", "b.x"}, []string{"foo", "True"}}}}}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("names: %v, %v", got, err)
	}
	if _, err := Optimizers(bytes.NewReader(nil), 0); !isMalformed(err) {
		t.Error(err)
	}
}

// counting counts the bytes that were asked for.
type counting struct {
	r     io.ReaderAt
	bytes int64
}

func (c *counting) ReadAt(p []byte, off int64) (int, error) {
	c.bytes += int64(len(p))
	return c.r.ReadAt(p, off)
}

// zipOf is a torch zip of a pickle and storages 0, 1, ...
func zipOf(t testing.TB, pickle []byte, storages ...[]byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w := zip.NewWriter(&out)
	add := func(name string, b []byte) {
		f, err := w.CreateHeader(&zip.FileHeader{Name: "archive/" + name})
		if err == nil {
			_, err = f.Write(b)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	add("data.pkl", pickle)
	for i, s := range storages {
		key := strconv.Itoa(i)
		if len(storages) > 10 {
			key = fmt.Sprintf("%05d", i)
		}
		add("data/"+key, s)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// A file of 5 GB, nearly all of it a hole, costs no more than its framing.
func TestSparse(t *testing.T) {
	const payload = 5 << 30
	f := bigFile(t, payload)
	defer f.Close()
	st, _ := f.Stat()
	before := allocated()
	r := &counting{r: f}
	l, err := Parse(r, st.Size())
	n := allocated() - before
	if err != nil {
		t.Fatal(err)
	}
	if r.bytes > 4096 {
		t.Errorf("%d bytes were read", r.bytes)
	}
	if x := l.Tensors[0]; len(l.Tensors) != 1 || x.Length != payload || x.Name != "big" || !reflect.DeepEqual(x.Shape, []int64{payload / 4}) ||
		len(l.Sums) != 1 || len(l.Sums[0].Offsets) != 2 {
		t.Errorf("%s", dump(l))
	}
	if n > 1<<20 {
		t.Errorf("%d bytes allocated", n)
	}
	// The same behind other zips, and with a hole as a raw item before all.
	small := fixture(t, "tensor.pt")
	tail, err := os.Create(filepath.Join(t.TempDir(), "x.distcp"))
	if err != nil {
		t.Fatal(err)
	}
	defer tail.Close()
	const hole = 100 << 20
	for i := range 3 {
		tail.WriteAt(small, hole+int64(i*len(small)))
	}
	r = &counting{r: tail}
	if l, err = Parse(r, hole+3*int64(len(small))); err != nil || len(l.Tensors) != 3 || l.Tensors[1].Name != "1" {
		t.Errorf("hole before zips: %v, %v", l, err)
	}
	if r.bytes > hole+hole/100 {
		t.Errorf("%d bytes were read of a hole of %d", r.bytes, hole)
	}
	// Cut in the hole: refused by its end, not by a search through all of it.
	r = &counting{r: f}
	if _, err := Parse(r, payload); !isMalformed(err) || r.bytes > 2*max16 {
		t.Errorf("cut: %v, after %d bytes", err, r.bytes)
	}
}

// A file of many storages is read in a short time, and in little more memory
// than what says where they are.
func TestManyStorages(t *testing.T) {
	const n = 20000
	b := manyFile(t, n)
	for _, c := range []struct {
		name  string
		parse func() (int, error)
	}{
		{"Parse", func() (int, error) {
			l, err := parse(b)
			if err != nil {
				return 0, err
			}
			return len(l.Tensors), nil
		}},
		{"Tensors", func() (int, error) {
			all, err := Tensors(bytes.NewReader(b), int64(len(b)))
			return len(all), err
		}},
	} {
		before, start := allocated(), time.Now()
		got, err := c.parse()
		took, cost := time.Since(start), (allocated()-before)/n
		if err != nil || got != n {
			t.Errorf("%s: %d, %v", c.name, got, err)
		}
		t.Logf("%s: %v, %d bytes allocated a storage", c.name, took, cost)
		if took > 4*time.Second || cost > 8192 { // well under a second where nothing else runs
			t.Errorf("%s took %v and %d bytes a storage", c.name, took, cost)
		}
	}
}
