package store

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"excpfs/archive"
)

// BenchmarkStore measures opening and listing a store of many archives: STORE_FILES of them, 2,000 by default.
func BenchmarkStore(b *testing.B) {
	n := 2000
	fmt.Sscan(os.Getenv("STORE_FILES"), &n)
	dir := b.TempDir()
	var buf bytes.Buffer
	w, err := archive.NewWriter(&buf)
	if err == nil {
		err = encodeTest(contentA, nil, 0, w, archive.Trailer{})
	}
	if err != nil {
		b.Fatal(err)
	}
	for i := range n {
		folder := filepath.Join(dir, fmt.Sprintf("checkpoint-%d", i/10))
		os.MkdirAll(folder, 0o755)
		if err := os.WriteFile(filepath.Join(folder, fmt.Sprint(i, suffix)), buf.Bytes(), 0o644); err != nil {
			b.Fatal(err)
		}
	}
	b.ResetTimer()
	for b.Loop() {
		start := time.Now()
		s, err := Open(dir, Options{})
		if err != nil {
			b.Fatal(err)
		}
		opened := time.Since(start)
		s.scanned(context.Background())
		scanned := time.Since(start)
		start = time.Now()
		if got := listAll(b, s, s.Root()); got != n {
			b.Fatalf("listed %d of %d", got, n)
		}
		b.ReportMetric(float64(opened.Microseconds())/1000, "open-ms")
		b.ReportMetric(float64(scanned.Microseconds())/float64(n), "scan-us/file")
		b.ReportMetric(float64(time.Since(start).Microseconds())/float64(n), "list-us/file")
		s.Close()
	}
}

func listAll(b *testing.B, s *Store, d *Dir) (files int) {
	defer d.Release()
	list, err := d.ReadDir()
	if err != nil {
		b.Fatal(err)
	}
	for _, x := range list {
		e, err := d.Lookup(x.Name)
		if err != nil {
			b.Fatal(err)
		}
		if e.Dir != nil {
			files += listAll(b, s, e.Dir)
		} else {
			files++
		}
	}
	return files
}
