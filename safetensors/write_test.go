package safetensors

import (
	"bytes"
	"os"
	"reflect"
	"testing"

	"excpfs/tensor"
)

// What the format's library wrote comes out again: order, spaces, escapes and all.
func TestWrite(t *testing.T) {
	for _, name := range []string{"testdata/empty.safetensors", "testdata/one.safetensors", "testdata/mixed.safetensors", "testdata/escapes.safetensors",
		"../tests/testdata/chain/dev/checkpoint-500/model.safetensors", "../tests/testdata/chain/bf16/checkpoint-400/model.safetensors"} {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		r, size := bytes.NewReader(b), int64(len(b))
		l, err := Parse(r, size)
		if err != nil {
			t.Fatal(err)
		}
		meta, err := Metadata(r, size)
		if err != nil {
			t.Fatal(err)
		}
		saved := append([]tensor.Info{}, l.Tensors...)
		Arrange(saved)
		if !reflect.DeepEqual(saved, append([]tensor.Info{}, l.Tensors...)) {
			t.Errorf("%s: arranged %v, saved as %v", name, saved, l.Tensors)
		}
		got, err := AppendHeader([]byte("x"), meta, l.Tensors)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.HasPrefix(b, got[1:]) {
			t.Errorf("%s:\n%s\nnot\n%s", name, got[1:], b[:len(got)])
		}
	}
}

func TestMetadata(t *testing.T) {
	b := file(`{"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},"__metadata__":{"z":"1","a":"\u00e4\n"}}`, 0)
	got, err := Metadata(bytes.NewReader(b), int64(len(b)))
	if want := []Entry{{"z", "1"}, {"a", "ä\n"}}; err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := Metadata(bytes.NewReader(b), int64(len(b))-1); err == nil {
		t.Error("a cut file has metadata")
	}
}
