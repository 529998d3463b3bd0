package archive

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"excpfs/tensor"
	"excpfs/torchfile"
)

// fixture is a file of PyTorch's as an index has it; nil: it is none.
func fixture(tb testing.TB, path string) *Index {
	tb.Helper()
	p, err := os.ReadFile(path)
	if err != nil {
		tb.Fatal(err)
	}
	l, err := torchfile.Parse(bytes.NewReader(p), int64(len(p)))
	if _, not := errors.AsType[*torchfile.FormatError](err); not {
		return nil // a .distcp file may hold other things
	}
	must(err)
	return framed(l, p)
}

// framed is an index of a layout with the verbatim bytes of the file p.
func framed(l *tensor.Layout, p []byte) *Index {
	ix := &Index{Format: l.Format}
	ix.Size = l.Size
	for _, t := range l.Tensors {
		ix.Tensors = append(ix.Tensors, Tensor{Info: t, Base: -1, Weights: -1, Support: -1})
	}
	l.Gaps(func(off, n int64) error { ix.Verbatim = append(ix.Verbatim, p[off:off+n]...); return nil })
	return ix
}

// written2 is an archive of version 2, whose tensors have no values.
func written2(tb testing.TB, ix *Index) []byte {
	tb.Helper()
	var out bytes.Buffer
	w, err := NewWriterFor(&out, ix.Format)
	must(err)
	ix.Hash = sha256.Sum256(ix.Verbatim)
	ix.ID, ix.Schema, ix.Profile.Name = ID(ix.Hash[:16]), ix.Layout().Schema(), "exact"
	if err := w.Finish(ix, Trailer{}); err != nil {
		tb.Fatal(err)
	}
	return out.Bytes()
}

func fixtures(tb testing.TB) (paths []string) {
	for _, ext := range []string{"pt", "distcp"} {
		p, err := filepath.Glob("../torchfile/testdata/*." + ext)
		must(err)
		paths = append(paths, p...)
	}
	if len(paths) == 0 {
		tb.Fatal("no fixtures")
	}
	return paths
}

// Each fixture comes back, and takes less as it does in the forms of version 1.
func TestStructuredFixtures(t *testing.T) {
	for _, path := range fixtures(t) {
		ix := fixture(t, path)
		if ix == nil {
			continue
		}
		r := open(t, written2(t, ix))
		if !bytes.Equal(r.index.Verbatim, ix.Verbatim) {
			t.Errorf("%s: differs", path)
		}
		column, sums := packVerbatim(versionStructured, ix)
		got, want := packedSize(column)+len(sums), packedSize(packText(ix.Verbatim, ix.Tensors))
		t.Logf("%s: %d tensors, %d bytes, packed %d before, now %d", filepath.Base(path), len(ix.Tensors), len(ix.Verbatim), want, got)
		if column[0] != verbatimStructured || got >= want {
			t.Errorf("%s: form %d, %d bytes for %d", path, column[0], got, want)
		}
	}
}

func packedSize(p []byte) int { return len(unchecked(p)) }

// What PyTorch writes is predicted but for what begins something: a storage costs its checksum.
func TestStructuredSize(t *testing.T) {
	for _, c := range []struct {
		name string
		ix   *Index
		most int // bytes, packed, without checksums
	}{
		{"few", torchIndex(10, 40, 64, false), 300},
		{"by text", torchIndex(3000, 40, 64, true), 300},
		{"by number", torchIndex(3000, 40, 64, false), 300},
		{"pages", torchIndex(3000, 40, 4096, false), 300},
		{"offsets of 8 bytes", torchIndex(3000, 1<<20, 64, false), 300},
		{"sizes of 8 bytes", torchIndex(100, 1<<28, 64, false), 300},
		{"legacy", legacyIndex(3000), 300},
	} {
		column, sums := packVerbatim(versionStructured, c.ix)
		n := packedSize(column)
		t.Logf("%s: %d bytes, %d, packed %d and %d of checksums", c.name, len(c.ix.Verbatim), len(column), n, len(sums))
		if column[0] != verbatimStructured || n > c.most || len(sums) > 4*(len(c.ix.Tensors)+2) {
			t.Errorf("%s: form %d, %d bytes and %d of checksums", c.name, column[0], n, len(sums))
		}
	}
}

func BenchmarkStructured(b *testing.B) {
	ix := torchIndex(20000, 40, 64, true)
	g := newGaps(ix.Tensors, ix.Size)
	column, sums := packStructured(ix.Verbatim, g)
	b.Run("pack", func(b *testing.B) {
		b.SetBytes(g.size)
		b.ReportAllocs()
		for b.Loop() {
			packStructured(ix.Verbatim, g)
		}
	})
	b.Run("unpack", func(b *testing.B) {
		b.SetBytes(g.size)
		b.ReportAllocs()
		for b.Loop() {
			unpackStructured(column, sums, g)
		}
	})
}
