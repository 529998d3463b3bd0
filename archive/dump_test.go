package archive

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"testing"
)

var update = flag.Bool("update", false, "rewrite testdata/*.dump from the archives there, and make archives that are missing")

// The archives in testdata are frozen: they must read, and dump, as they always did.
func TestDump(t *testing.T) {
	small, _ := optimizerIndex(t, 2)
	torch := written2(t, fixture(t, "../torchfile/testdata/shared.pt"))
	for name, fresh := range map[string][]byte{"everything": newSample().bytes, "optimizer": small, "torch": torch} {
		path := filepath.Join("testdata", name)
		frozen, err := os.ReadFile(path + ".excp")
		if os.IsNotExist(err) && *update {
			frozen, err = fresh, os.WriteFile(path+".excp", fresh, 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
		var got bytes.Buffer
		if err := Dump(&got, bytes.NewReader(frozen), int64(len(frozen))); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if *update {
			must(os.WriteFile(path+".dump", got.Bytes(), 0o644))
		}
		want, err := os.ReadFile(path + ".dump")
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got.Bytes(), want) {
			t.Errorf("%s: dump differs from the golden one; -update shows where", name)
		}
		sameParts(t, name, fresh, frozen)
	}
}

// sameParts compares two archives but for what the zstd library decides.
func sameParts(t *testing.T, name string, a, b []byte) {
	t.Helper()
	x, y := open(t, a), open(t, b)
	xu, xr := encodeIndex(x.version, x.index, x.inline)
	yu, yr := encodeIndex(y.version, y.index, y.inline)
	if x.end != y.end || !bytes.Equal(a[:x.end], b[:y.end]) || !bytes.Equal(xu, yu) || !bytes.Equal(xr, yr) ||
		!bytes.Equal(appendSummary(nil, &x.index.Summary), appendSummary(nil, &y.index.Summary)) || x.trailer != y.trailer {
		t.Errorf("%s: this writer spells the archive otherwise", name)
	}
}

// A damaged archive is refused, not guessed at.
func TestDumpRefuses(t *testing.T) {
	s := newSample()
	s.bytes[len(s.bytes)-1] ^= 1
	if err := Dump(new(bytes.Buffer), bytes.NewReader(s.bytes), int64(len(s.bytes))); !typed(err) {
		t.Error(err)
	}
}
