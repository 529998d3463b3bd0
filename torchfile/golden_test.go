package torchfile

import (
	"bytes"
	"encoding/binary"
	"flag"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"excpfs/tensor"
)

var update = flag.Bool("update", false, "rewrite the golden layouts")

func fixture(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// fixtures are the names of all files that testdata/make.py makes.
func fixtures(t testing.TB) (names []string) {
	t.Helper()
	for _, pattern := range []string{"*.pt", "*.distcp"} {
		found, _ := filepath.Glob(filepath.Join("testdata", pattern))
		for _, f := range found {
			names = append(names, filepath.Base(f))
		}
	}
	if len(names) < 25 {
		t.Fatalf("only %d fixtures", len(names))
	}
	return names
}

func parse(b []byte) (*tensor.Layout, error) { return Parse(bytes.NewReader(b), int64(len(b))) }

// dump is a layout for people: a line for each storage.
func dump(l *tensor.Layout) string {
	var s strings.Builder
	fmt.Fprintf(&s, "%s, %d bytes\n", l.Format, l.Size)
	crcs := map[int][]int64{}
	for _, c := range l.Sums {
		crcs[c.Tensor] = c.Offsets
	}
	for i, t := range l.Tensors {
		fmt.Fprintf(&s, "%s %s %v at %d, %d bytes", t.Name, t.DType, t.Shape, t.Offset, t.Length)
		if crcs[i] != nil {
			fmt.Fprintf(&s, ", crc at %v", crcs[i])
		}
		s.WriteByte('\n')
	}
	return s.String()
}

// The layouts of files that PyTorch and testdata/make.py wrote.
func TestGolden(t *testing.T) {
	for _, name := range fixtures(t) {
		l, err := parse(fixture(t, name))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		golden := filepath.Join("testdata", name+".layout")
		if *update {
			if err := os.WriteFile(golden, []byte(dump(l)), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if want := fixture(t, name+".layout"); dump(l) != string(want) {
			t.Errorf("%s: got\n%swant\n%s", name, dump(l), want)
		}
	}
}

// Each checksum is that of its tensor, in each place, except in the file that
// was written with false ones.
func TestSums(t *testing.T) {
	for _, name := range fixtures(t) {
		b := fixture(t, name)
		l, err := parse(b)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		sums := 0
		for _, s := range l.Sums {
			x := l.Tensors[s.Tensor]
			want := crc32.ChecksumIEEE(b[x.Offset:][:x.Length])
			if name == "false_crc.pt" {
				want = 0x12345678
			}
			for _, off := range s.Offsets {
				if got := binary.LittleEndian.Uint32(b[off:]); got != want {
					t.Errorf("%s: %s: %#x at byte %d, want %#x", name, x.Name, got, off, want)
				}
			}
			sums++
		}
		for _, x := range l.Tensors {
			if x.Length == 0 || l.Format == FormatLegacy {
				sums++
			}
		}
		if sums != len(l.Tensors) {
			t.Errorf("%s: %d tensors, but %d checksums", name, len(l.Tensors), sums)
		}
	}
}
