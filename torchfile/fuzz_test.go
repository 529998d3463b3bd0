package torchfile

import (
	"archive/zip"
	"bytes"
	"strings"
	"testing"
)

// check is what holds for any bytes: they are refused, or the layout is sound
// and the storages have names of their own.
func check(t *testing.T, b []byte) bool {
	l, err := parse(b)
	if err != nil {
		if !isMalformed(err) {
			t.Fatalf("%T: %v", err, err)
		}
		return false
	}
	if err := l.Check(); err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	for _, x := range l.Tensors {
		if names[x.Name] || x.Name == "" || len(x.Name) > maxName {
			t.Fatalf("name %q", x.Name)
		}
		names[x.Name] = true
	}
	if _, err := Optimizers(bytes.NewReader(b), int64(len(b))); err != nil {
		t.Fatal(err)
	}
	return true
}

func seeds(f *testing.F, keep func(name string) bool) {
	n := 0
	for _, name := range fixtures(f) {
		if keep(name) {
			f.Add(fixture(f, name))
			n++
		}
	}
	if n == 0 {
		f.Fatal("no seeds")
	}
}

// The storages of any zip lie where archive/zip sees records, if it reads it.
func FuzzZip(f *testing.F) {
	seeds(f, func(name string) bool {
		return strings.HasSuffix(name, ".pt") && !strings.HasPrefix(name, "legacy") && !strings.HasPrefix(name, "align")
	})
	f.Fuzz(func(t *testing.T, b []byte) {
		if !check(t, b) {
			return
		}
		l, _ := parse(b)
		z, err := zip.NewReader(bytes.NewReader(b), int64(len(b)))
		if err != nil || l.Format != Format {
			return
		}
		records := map[int64]uint64{}
		for _, r := range z.File {
			if at, err := r.DataOffset(); err == nil {
				records[at] = max(records[at], r.UncompressedSize64)
			}
		}
		for _, x := range l.Tensors {
			if n, ok := records[x.Offset]; !ok || n != uint64(x.Length) {
				t.Fatalf("%s at %d is not a record: %v", x.Name, x.Offset, records)
			}
		}
	})
}

func FuzzLegacy(f *testing.F) {
	seeds(f, func(name string) bool { return strings.HasPrefix(name, "legacy") })
	f.Fuzz(func(t *testing.T, b []byte) { check(t, b) })
}

func FuzzDistcp(f *testing.F) {
	seeds(f, func(name string) bool { return strings.HasSuffix(name, ".distcp") })
	f.Fuzz(func(t *testing.T, b []byte) { check(t, b) })
}

// Any pickle in a zip.
func FuzzPickle(f *testing.F) {
	for _, name := range []string{"plain.pt", "proto4.pt", "shared.pt", "optimizer.pt", "objects.pt", "odd.pt", "loop.pt", "v2.7.pt"} {
		b := fixture(f, name)
		z, err := zip.NewReader(bytes.NewReader(b), int64(len(b)))
		if err != nil {
			f.Fatal(err)
		}
		for _, r := range z.File {
			if strings.HasSuffix(r.Name, "/data.pkl") {
				at, _ := r.DataOffset()
				f.Add(b[at:][:r.UncompressedSize64])
			}
		}
	}
	data := make([]byte, 24)
	f.Fuzz(func(t *testing.T, b []byte) { check(t, zipOf(t, b, data, data, data)) })
}
