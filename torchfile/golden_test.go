package torchfile

import (
	"bytes"
	"encoding/binary"
	"flag"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"reflect"
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

// fixtures are the names of all files of PyTorch's formats that the scripts in
// testdata made.
func fixtures(t testing.TB) (names []string) {
	t.Helper()
	for _, pattern := range []string{"*.pt", "*.distcp"} {
		found, _ := filepath.Glob(filepath.Join("testdata", pattern))
		for _, f := range found {
			if !strings.Contains(f, "safetensors") {
				names = append(names, filepath.Base(f))
			}
		}
	}
	if len(names) < 150 {
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

// Each checksum is that of its tensor, in each place, except in the files that
// were written with false ones.
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
			switch {
			case name == "false_crc.pt":
				want = 0x12345678
			case strings.Contains(name, "false_crc"), strings.Contains(name, "skipped"):
				want = 0 // what PyTorch writes when it is told not to compute it
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

// A header that has to hold the checksum holds it before the payload, also where
// it is 0; one that leaves it to the descriptor has none.
func TestSumsBefore(t *testing.T) {
	for name, before := range map[string]bool{"no_descriptor.pt": true, "repacked.pt": true, "v2.7.pt": false, "v2.15.0_optimizer.pt": false} {
		b := fixture(t, name)
		l, err := parse(b)
		if err != nil {
			t.Fatal(err)
		}
		first := l.Sums[0].Offsets
		if got := first[0] < l.Tensors[l.Sums[0].Tensor].Offset; got != before || len(first) != 2 {
			t.Errorf("%s: %v", name, first)
		}
		clear(b[first[0]:][:4])
		zeroed, err := parse(b)
		if err != nil || !reflect.DeepEqual(zeroed, l) {
			t.Errorf("%s, zeroed: %v", name, err)
		}
	}
}
