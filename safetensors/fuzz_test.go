package safetensors

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// A layout that parses is sound and covers the file; the header is its only gap.
func FuzzParse(f *testing.F) {
	seeds, _ := filepath.Glob("testdata/*.safetensors")
	if len(seeds) == 0 {
		f.Fatal("no seeds")
	}
	for _, name := range seeds {
		b, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add(file(`{"t":{"dtype":"F4","shape":[2,1],"data_offsets":[0,1]},"\u0074":{}}  `, 1))
	f.Fuzz(func(t *testing.T, b []byte) {
		l, err := Parse(bytes.NewReader(b), int64(len(b)))
		if err != nil {
			if _, ok := errors.AsType[*FormatError](err); !ok {
				t.Fatalf("%T: %v", err, err)
			}
			return
		}
		if err := l.Check(); err != nil {
			t.Fatal(err)
		}
		if !Sniff(b, int64(len(b))) {
			t.Fatal("parses, but Sniff does not know it")
		}
		header := int64(8 + binary.LittleEndian.Uint64(b))
		tensors, gaps := int64(0), 0
		for _, i := range l.Tensors {
			tensors += i.Length
		}
		l.Gaps(func(off, n int64) error {
			if gaps++; off != 0 || n != header {
				t.Fatalf("gap %d+%d", off, n)
			}
			return nil
		})
		if gaps != 1 || header+tensors != int64(len(b)) {
			t.Fatalf("%d gaps, header %d, tensors %d of %d bytes", gaps, header, tensors, len(b))
		}
	})
}
