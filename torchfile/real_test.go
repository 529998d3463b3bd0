package torchfile

import (
	"bytes"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"excpfs/tensor"
)

// truth is what the PyTorch that wrote a file says of it (testdata/make_real.py).
type truth struct {
	version string
	all     bool // the tensors are all there are
	tensors []realTensor
	records map[int64]realRecord
	items   map[string][]realItem
}

type realTensor struct {
	keys          []string
	dtype         string
	shape, stride []int64
	start         int64
	crc           uint32
}

type realRecord struct {
	name   string
	length int64
	crc    uint32
}

type realItem struct {
	offset, length int64
	fqn            string
	chunk          []int64
	tensor         *realTensor
}

func readTruth(t *testing.T, name string) (w truth) {
	t.Helper()
	w.records, w.items = map[int64]realRecord{}, map[string][]realItem{}
	get := func(raw []json.RawMessage, to ...any) {
		for i, v := range to {
			if err := json.Unmarshal(raw[i], v); err != nil {
				t.Fatal(name, err)
			}
		}
	}
	for _, line := range bytes.Split(bytes.TrimSpace(fixture(t, name+".truth")), []byte("\n")) {
		var l struct {
			Torch                string
			All                  bool
			Tensor, Record, Item []json.RawMessage
		}
		if err := json.Unmarshal(line, &l); err != nil {
			t.Fatal(name, err)
		}
		switch {
		case l.Tensor != nil:
			var x realTensor
			get(l.Tensor, &x.keys, &x.dtype, &x.shape, &x.stride, &x.start, &x.crc)
			w.tensors = append(w.tensors, x)
		case l.Record != nil:
			var r realRecord
			var at int64
			get(l.Record, &r.name, &at, &r.length, &r.crc)
			w.records[at] = r
		case l.Item != nil:
			var i realItem
			var file string
			get(l.Item, &file, &i.offset, &i.length, &i.fqn, &i.chunk)
			if len(l.Item) > 5 {
				i.tensor = &realTensor{}
				get(l.Item[5:], &i.tensor.dtype, &i.tensor.shape, &i.tensor.stride, &i.tensor.start, &i.tensor.crc)
			}
			w.items[file] = append(w.items[file], i)
		default:
			w.version, w.all = l.Torch, l.All
		}
	}
	return w
}

// realFiles are the names of the files that real versions of PyTorch wrote, of one kind.
func realFiles(t testing.TB, kind string) (names []string) {
	t.Helper()
	found, _ := filepath.Glob(filepath.Join("testdata", "v*[0-9]_"+kind+".truth"))
	for _, f := range found {
		names = append(names, strings.TrimSuffix(filepath.Base(f), ".truth"))
	}
	if len(names) < 2 {
		t.Fatalf("only %d files v*_%s", len(names), kind)
	}
	return names
}

// elements are the bytes of a tensor's elements in order.
func elements(file []byte, x Tensor, width int64) (out []byte) {
	var walk func(at int64, dim int)
	walk = func(at int64, dim int) {
		if dim == len(x.Shape) {
			out = append(out, file[x.Offset+at*width:][:width]...)
			return
		}
		for i := range x.Shape[dim] {
			walk(at+i*x.Stride[dim], dim+1)
		}
	}
	walk(x.Start, 0)
	return out
}

// equal compares a listed tensor with the truth, by its bytes in the file too.
func (w realTensor) equal(file []byte, x Tensor) error {
	got := fmt.Sprint(x.DType.String(), x.Shape, x.Stride, x.Start)
	if want := fmt.Sprint(w.dtype, w.shape, w.stride, w.start); got != want {
		return fmt.Errorf("%s, want %s", got, want)
	}
	if d, ok := tensor.ParseDType(w.dtype); ok {
		if crc := crc32.ChecksumIEEE(elements(file, x, int64(d.Width()))); crc != w.crc {
			return fmt.Errorf("other elements: %#x, want %#x", crc, w.crc)
		}
	}
	return nil
}

// Each tensor is where PyTorch found it, with its shape, strides and elements.
func TestRealTensors(t *testing.T) {
	for _, name := range realFiles(t, "*.pt") {
		b := fixture(t, name)
		w := readTruth(t, name)
		got, err := Tensors(bytes.NewReader(b), int64(len(b)))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		for _, want := range w.tensors {
			i := slices.IndexFunc(got, func(x Tensor) bool { return slices.Equal(x.Keys, want.keys) })
			if i < 0 {
				t.Errorf("%s: no tensor %q", name, want.keys)
				continue
			}
			if got[i].Path != strings.Join(want.keys, ".") || w.all && i != 0 {
				t.Errorf("%s: tensor %q comes %d too late as %q", name, want.keys, i, got[i].Path)
			}
			if err := want.equal(b, got[i]); err != nil {
				t.Errorf("%s: %q: %v", name, want.keys, err)
			}
			got = slices.Delete(got, i, i+1)
		}
		if w.all && len(got) > 0 {
			t.Errorf("%s: tensors left over: %+v", name, got)
		}
	}
}

// Each extent is a record where Python's zipfile has it, and holds what the
// tensors that cover it do.
func TestRealRecords(t *testing.T) {
	for _, name := range realFiles(t, "*.pt") {
		b := fixture(t, name)
		w := readTruth(t, name)
		l, err := parse(b)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		covered := map[string]realTensor{}
		for _, x := range w.tensors {
			covered[strings.Join(x.keys, ".")] = x
		}
		for _, x := range l.Tensors {
			r, ok := w.records[x.Offset]
			crc := crc32.ChecksumIEEE(b[x.Offset:][:x.Length])
			if l.Format == Format && (!ok || r.length != x.Length || r.crc != crc || !strings.Contains(r.name, "/data/")) {
				t.Errorf("%s: %s is not a record: %+v", name, x.Name, r)
			}
			if v, ok := covered[x.Name]; ok && v.start == 0 && slices.Equal(v.shape, x.Shape) && contiguous(v.shape, v.stride) &&
				(v.crc != crc || v.dtype != x.DType.String()) {
				t.Errorf("%s: %s %s is not %+v", name, x.Name, x.DType, v)
			}
		}
	}
}

// Every optimizer state that PyTorch wrote has its two groups.
func TestRealOptimizers(t *testing.T) {
	want := []Group{{Params: []string{"0", "1"}}, {Params: []string{"2", "3", "4"}}}
	named := []Group{{want[0].Params, []string{"embed.weight", "head.weight"}}, {want[1].Params, []string{"norm.weight", "norm.bias", "head.bias"}}}
	flat := []Group{{Params: []string{"0"}}, {Params: []string{"1"}}}
	for kind, want := range map[string][]Groups{
		"optimizer.pt":        {{"", want}},
		"legacy_optimizer.pt": {{"", want}},
		"named_optimizer.pt":  {{"", named}},
		"lightning.pt":        {{"optimizer_states.0", want}},
		"zero.pt":             {{"optimizer_state_dict.base_optimizer_state", flat}},
		"zero3.pt":            {{"optimizer_state_dict.optimizer_state_dict", flat}},
		"state.pt":            nil,
	} {
		for _, name := range realFiles(t, kind) {
			b := fixture(t, name)
			got, err := Optimizers(bytes.NewReader(b), int64(len(b)))
			if err != nil || !reflect.DeepEqual(got, want) {
				t.Errorf("%s: %v, %v", name, got, err)
			}
		}
	}
}

// What PyTorch means by other than an array of numbers is no extent.
func TestRealOdd(t *testing.T) {
	for _, name := range realFiles(t, "odd.pt") {
		l, err := parse(fixture(t, name))
		if err != nil || len(l.Tensors) != 1 || l.Tensors[0].Name != "w" {
			t.Errorf("%s: %v, %v", name, l, err)
		}
	}
}

// The fixtures say which versions are covered; none has gone.
func TestRealVersions(t *testing.T) {
	versions := map[string]bool{}
	size := int64(0)
	entries, err := os.ReadDir("testdata")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if v, _, ok := strings.Cut(e.Name(), "_"); ok && strings.HasPrefix(v, "v") && strings.Count(v, ".") == 2 {
			versions[v] = true
		}
		if st, err := e.Info(); err == nil {
			size += st.Size()
		}
	}
	if len(versions) < 6 || size > 3<<19 {
		t.Errorf("%v, %d bytes", slices.Sorted(maps.Keys(versions)), size)
	}
}
