package torchfile

import (
	"archive/zip"
	"bytes"
	"slices"
	"strings"
	"testing"

	"excpfs/tensor"
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
	checkTensors(t, b, l)
	return true
}

// checkTensors proves that each tensor lies within its storage, and that the
// storages are the extents of the layout where those are of its type.
func checkTensors(t *testing.T, b []byte, l *tensor.Layout) {
	all, err := Tensors(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		if !isMalformed(err) {
			t.Fatalf("%T: %v", err, err)
		}
		return
	}
	extents := map[int64]int64{}
	for _, x := range l.Tensors {
		extents[x.Offset] = max(x.Length, extents[x.Offset])
	}
	for _, x := range all {
		if strings.Join(x.Keys, ".") != x.Path || x.Offset < 0 || x.Length < 0 || x.Length > int64(len(b))-x.Offset || len(x.Shape) != len(x.Stride) {
			t.Fatalf("%+v in %d bytes", x, len(b))
		}
		if n, ok := extents[x.Offset]; ok && x.Length > 0 && n != x.Length {
			t.Fatalf("%+v is not an extent of %d bytes", x, n)
		}
		if w := int64(x.DType.Width()); x.DType.Valid() && !slices.Contains(x.Shape, 0) {
			last := x.Start
			for i, n := range x.Shape {
				last += (n - 1) * x.Stride[i]
			}
			if x.Start < 0 || last < x.Start || (last+1)*w > x.Length {
				t.Fatalf("%+v leaves its storage", x)
			}
		}
	}
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
		return strings.HasSuffix(name, ".pt") && !strings.Contains(name, "legacy") && !strings.Contains(name, "align")
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
	seeds(f, func(name string) bool { return strings.Contains(name, "legacy") })
	f.Fuzz(func(t *testing.T, b []byte) { check(t, b) })
}

func FuzzDistcp(f *testing.F) {
	seeds(f, func(name string) bool { return strings.HasSuffix(name, ".distcp") })
	f.Fuzz(func(t *testing.T, b []byte) { check(t, b) })
}

// Whatever metadata says, its items name a layout only if they cover the file,
// and then the tensors lie where they do without names.
func FuzzMetadata(f *testing.F) {
	for _, kind := range []string{"dcp", "dcp_halves", "dcp_threads"} {
		for _, name := range realFiles(f, kind+".metadata") {
			f.Add(fixture(f, name), fixture(f, distcpFile(name, "__0_0.distcp")))
		}
	}
	f.Fuzz(func(t *testing.T, metadata, b []byte) {
		files, err := Metadata(bytes.NewReader(metadata), int64(len(metadata)))
		if err != nil && !isMalformed(err) {
			t.Fatalf("%T: %v", err, err)
		}
		for _, items := range files {
			l, err := ParseNamed(bytes.NewReader(b), int64(len(b)), items)
			if err != nil {
				if !isMalformed(err) {
					t.Fatalf("%T: %v", err, err)
				}
				continue
			}
			at := map[int64]tensor.Info{}
			for _, x := range l.Tensors {
				at[x.Offset] = x
			}
			plain, err := parse(b)
			if err != nil {
				continue // its last item need not be a zip
			}
			for _, x := range plain.Tensors {
				if y, ok := at[x.Offset]; ok && (x.Length != y.Length || x.DType != y.DType || !slices.Equal(x.Shape, y.Shape)) {
					t.Fatalf("%+v, but %+v without names", y, x)
				}
			}
		}
	})
}

// Any pickle in a zip.
func FuzzPickle(f *testing.F) {
	for _, name := range []string{"plain.pt", "proto4.pt", "shared.pt", "optimizer.pt", "objects.pt", "odd.pt", "loop.pt", "v2.7.pt",
		"v2.0.1_objects.pt", "v2.15.0_objects.pt", "v2.15.0_state.pt", "v2.15.0_dtensor.pt", "v2.15.0_zero.pt", "v2.15.0_named_optimizer.pt"} {
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
