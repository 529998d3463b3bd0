package zipnn

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"excpfs/safetensors"
	"excpfs/tensor"
)

func load(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func plainOf(b []byte) ([]byte, *File, error) {
	f, err := Open(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		return nil, nil, err
	}
	var out bytes.Buffer
	_, err = f.WriteTo(&out)
	return out.Bytes(), f, err
}

// What ZipNN itself gives back is the oracle: testdata/make.py.
func TestFixtures(t *testing.T) {
	for name, want := range map[string]string{
		"all.znn.safetensors": "all.plain", "chunks.znn.safetensors": "chunks.plain", "pieces.znn": "pieces.plain", "pieces32.znn": "pieces32.plain",
	} {
		got, f, err := plainOf(load(t, "testdata/"+name))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if want := load(t, "testdata/"+want); !bytes.Equal(got, want) || f.Size() != int64(len(want)) {
			t.Errorf("%s: %d bytes, said to be %d; not the %d of ZipNN", name, len(got), f.Size(), len(want))
		}
	}
}

// Without metadata nothing says which tensors are streams; ZipNN then gives none back.
func TestNoMetadata(t *testing.T) {
	got, _, err := plainOf(load(t, "testdata/all.bare.znn.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	want := load(t, "testdata/all.plain")
	a, b := tensors(t, got), tensors(t, want)
	if len(a) != 15 || len(a) != len(b) {
		t.Fatalf("%d tensors of %d", len(a), len(b))
	}
	for name := range b {
		if a[name] != b[name] {
			t.Errorf("%s differs", name)
		}
	}
	meta, err := safetensors.Metadata(bytes.NewReader(got), int64(len(got)))
	if err != nil || len(meta) != 0 {
		t.Errorf("metadata %v, %v", meta, err)
	}
}

// tensors lists type, shape and bytes by name.
func tensors(t *testing.T, b []byte) map[string]string {
	t.Helper()
	l, err := safetensors.Parse(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	for _, i := range l.Tensors {
		all[i.Name] = fmt.Sprint(i.DType, i.Shape, b[i.Offset:i.Offset+i.Length])
	}
	return all
}

// ZipNN writes what it cannot compress with its bits reordered.
func TestNotes(t *testing.T) {
	_, f, err := plainOf(load(t, "testdata/all.znn.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	if notes := strings.Join(f.Notes(), "\n"); len(f.Notes()) != 1 || !strings.Contains(notes, `tensor "small"`) {
		t.Errorf("notes:\n%s", notes)
	}
	b := load(t, "testdata/all.plain")
	l, err := safetensors.Parse(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range l.Tensors {
		if i.Name == "small" {
			p := bytes.Clone(b[i.Offset : i.Offset+i.Length])
			unrotate(p, 4)
			for j, want := range []float32{1.5, -2.25, 3} {
				if x := math.Float32frombits(binary.LittleEndian.Uint32(p[4*j:])); x != want {
					t.Errorf("element %d is %g, not %g", j, x, want)
				}
			}
		}
	}
}

func TestSniff(t *testing.T) {
	for name, want := range map[string]bool{
		"all.znn.safetensors": true, "all.bare.znn.safetensors": true, "pieces.znn": true, "all.plain": false, "make.py": false,
	} {
		b := load(t, "testdata/"+name)
		if got, err := Sniff(bytes.NewReader(b), int64(len(b))); got != want || err != nil {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
	if got, err := Sniff(bytes.NewReader(nil), 0); got || err != nil {
		t.Errorf("empty: %v, %v", got, err)
	}
}

// offsetOf gives where a stream of a fixture begins.
func offsetOf(t *testing.T, b []byte, name string) int64 {
	t.Helper()
	l, err := safetensors.Parse(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range l.Tensors {
		if i.Name == name {
			if i.DType != tensor.U8 {
				t.Fatalf("%s is %s", name, i.DType)
			}
			return i.Offset
		}
	}
	t.Fatalf("no tensor %s", name)
	return 0
}

func TestFaults(t *testing.T) {
	good := load(t, "testdata/chunks.znn.safetensors")
	at := offsetOf(t, good, "w")
	const tables = 37 // bytes of header and shape
	for _, c := range []struct {
		off    int64
		to     byte
		reason string
	}{
		{0, 'X', "no ZipNN stream"},
		{3, 6, "ZipNN 0.6.4"},
		{5, 1, "byte order 1"},
		{6, 2, "bit order 2"},
		{8, 1, "chunk 0 of group 0"},
		{8, 9, "kind of input 9"},
		{9, 1, "the difference to another file"},
		{10, 1, "lossy"},
		{14, 60, "chunks of 2^60"},
		{15, 22, "element type 22"},
		{16, 0, "is not"},
		{23, 0x7f, "out of"},
		{24, 1, "ends at byte"},
		{31, 0x7f, "bytes where there are"},
		{32, 200, "200 dimensions"},
		{33, 3, "dimension of 3 bytes"},
		{34, 1, "is not"},
		{tables, 2, "method 2"},
		{tables + 22, 0xff, "chunk 0 of group 0"},
		{tables + 22 + 7, 0x80, "chunk 0 of group 0"},
	} {
		b := bytes.Clone(good)
		b[at+c.off] = c.to
		_, _, err := plainOf(b)
		e, ok := errors.AsType[*FormatError](err)
		if !ok || !strings.Contains(err.Error(), c.reason) || e.Tensor != "w" || e.Offset < at || e.Offset > at+300 {
			t.Errorf("byte %d = %d: %v, wanted %q", c.off, c.to, err, c.reason)
		}
	}
}

// Damage in a chunk that breaks its coding is told with its place; no cut file is taken.
func TestDamage(t *testing.T) {
	good := load(t, "testdata/chunks.znn.safetensors")
	f, err := Open(bytes.NewReader(good), int64(len(good)))
	if err != nil {
		t.Fatal(err)
	}
	told := 0
	for _, p := range f.parts {
		for _, k := range p.stream.chunks {
			if k.method != huffman || k.length < 10 {
				continue
			}
			b := bytes.Clone(good)
			b[k.at] = 1 // no table is coded in one byte
			_, _, err := plainOf(b)
			if e, ok := errors.AsType[*FormatError](err); !ok || e.Tensor != p.name || e.Offset != k.at {
				t.Errorf("%s, chunk at %d: %v", p.name, k.at, err)
			}
			told++
		}
	}
	if told < 3 {
		t.Errorf("only %d chunks to damage", told)
	}
	pieces := load(t, "testdata/pieces.znn")
	for n := range len(pieces) {
		if got, _, err := plainOf(pieces[:n]); err == nil && len(got) >= 6003 {
			t.Fatalf("cut at %d: taken", n)
		}
	}
}

// A listed tensor that is no stream is an error; so is metadata that is no list.
func TestListed(t *testing.T) {
	file := func(meta string) []byte {
		info := []tensor.Info{{Name: "a", DType: tensor.U8, Shape: []int64{3}, Length: 3}}
		b, err := safetensors.AppendHeader(nil, []safetensors.Entry{{Key: metadataKey, Value: meta}, {Key: "format", Value: "pt"}}, info)
		if err != nil {
			t.Fatal(err)
		}
		return append(b, "ZNx"...)
	}
	for meta, want := range map[string]string{`{"a":{}}`: `tensor "a" at byte`, `[1]`: "metadata"} {
		if _, _, err := plainOf(file(meta)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", meta, err)
		}
	}
	got, _, err := plainOf(file(`{"b":{}}`))
	if err != nil || !bytes.HasSuffix(got, []byte("ZNx")) || !bytes.Contains(got, []byte(`{"__metadata__":{"format":"pt"},"a"`)) {
		t.Errorf("%q, %v", got, err)
	}
}

// TestLive compares with a ZipNN that is installed.
func TestLive(t *testing.T) {
	python := os.Getenv("ZIPNN_PYTHON")
	if python == "" {
		python = "python3"
	}
	if err := exec.Command(python, "-c", "import zipnn").Run(); err != nil {
		t.Skip("SKIPPED: no zipnn for " + python + " (ZIPNN_PYTHON names one that has it)")
	}
	dir := t.TempDir()
	models, err := filepath.Glob("../tests/testdata/chain/*/checkpoint-500/*.safetensors")
	if err != nil || len(models) == 0 {
		t.Fatalf("no chain: %v", err)
	}
	for i, m := range models {
		base := filepath.Join(dir, fmt.Sprint(i))
		if err := os.WriteFile(base+".safetensors", load(t, m), 0o600); err != nil {
			t.Fatal(err)
		}
		if out, err := exec.Command(python, "testdata/make.py", base+".safetensors").CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		got, f, err := plainOf(load(t, base+".znn.safetensors"))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, load(t, base+".plain")) {
			t.Errorf("%s: not what ZipNN gives", m)
		}
		same := bytes.Equal(got, load(t, m))
		t.Logf("%s: %d bytes, the original's: %v; %d notes", m, len(got), same, len(f.Notes()))
	}
}

func FuzzOpen(f *testing.F) {
	for _, name := range []string{"all.znn.safetensors", "all.bare.znn.safetensors", "chunks.znn.safetensors", "pieces.znn", "pieces32.znn"} {
		f.Add(load(f, "testdata/"+name))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		zf, err := Open(bytes.NewReader(b), int64(len(b)))
		if err != nil {
			_, ours := errors.AsType[*FormatError](err)
			_, theirs := errors.AsType[*safetensors.FormatError](err)
			if !ours && !theirs {
				t.Fatalf("%T: %v", err, err)
			}
			return
		}
		if zf.Size() > 1<<20 { // a stream of equal bytes may be long
			return
		}
		var out bytes.Buffer
		if _, err := zf.WriteTo(&out); err != nil {
			if _, ok := errors.AsType[*FormatError](err); !ok {
				t.Fatalf("%T: %v", err, err)
			}
			return
		}
		if int64(out.Len()) != zf.Size() {
			t.Fatalf("%d bytes, said to be %d", out.Len(), zf.Size())
		}
	})
}
