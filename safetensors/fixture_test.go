package safetensors

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"testing"
)

// The fixtures are made by the format's own library: testdata/make.py.
func TestFixtures(t *testing.T) {
	for name, want := range map[string][]string{
		"empty": nil,
		"one":   {"x F32 [3] 12"},
		"mixed": {"step I64 [] 8", "w64 F64 [2] 16", "layers.2.weight F32 [4 2] 32", "none F32 [0 3] 0",
			"layers.10.weight F16 [2 5] 20", "idx U8 [5] 5", "mask BOOL [7] 7"},
	} {
		b, err := os.ReadFile(filepath.Join("testdata", name+".safetensors"))
		if err != nil {
			t.Fatal(err)
		}
		l, err := parse(b)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		var got []string
		for _, i := range l.Tensors {
			got = append(got, fmt.Sprint(i.Name, " ", i.DType, " ", i.Shape, " ", i.Length))
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
}

// The layouts of a real training run.
func TestChain(t *testing.T) {
	shared := os.Getenv("EXCPFS_SHARED")
	if shared == "" {
		shared = "../../shared"
	}
	names, _ := filepath.Glob(filepath.Join(shared, "chain/*/checkpoint-*/*.safetensors"))
	if len(names) == 0 {
		t.Skip("SKIPPED: no chain of checkpoints under " + shared)
	}
	for _, name := range names {
		f, err := os.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		st, _ := f.Stat()
		l, err := Parse(f, st.Size())
		if err != nil {
			t.Errorf("%s: %v", name, err)
		} else if err := l.Check(); err != nil || len(l.Tensors) < 52 {
			t.Errorf("%s: %d tensors, %v", name, len(l.Tensors), err)
		}
		f.Close()
	}
}
