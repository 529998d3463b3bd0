package torchfile

import (
	"bytes"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"excpfs/safetensors"
	"excpfs/tensor"
)

// distcpFile is the fixture that a file of a checkpoint became.
func distcpFile(metadata, file string) string {
	return strings.TrimSuffix(metadata, ".metadata") + "_" + strings.TrimPrefix(file, "__")
}

func readMetadata(t *testing.T, name string) map[string][]Item {
	t.Helper()
	b := fixture(t, name)
	files, err := Metadata(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return files
}

// The items are those that PyTorch finds in its metadata.
func TestRealMetadata(t *testing.T) {
	for _, name := range append(realFiles(t, "dcp.metadata"), append(realFiles(t, "dcp_halves.metadata"), realFiles(t, "dcp_threads.metadata")...)...) {
		got := readMetadata(t, name)
		want := map[string][]Item{}
		for file, items := range readTruth(t, name).items {
			for _, x := range items {
				want[file] = append(want[file], Item{x.offset, x.length, x.fqn, x.chunk})
			}
			slices.SortFunc(want[file], func(a, b Item) int { return int(a.Offset - b.Offset) })
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
	}
}

// Each tensor of a file goes by its own name, and holds what PyTorch loads.
func TestParseNamed(t *testing.T) {
	for _, name := range append(realFiles(t, "dcp.metadata"), realFiles(t, "dcp_threads.metadata")...) {
		w := readTruth(t, name)
		for file, items := range readMetadata(t, name) {
			b := fixture(t, distcpFile(name, file))
			l, err := ParseNamed(bytes.NewReader(b), int64(len(b)), items)
			if err != nil || l.Format != FormatDistcp {
				t.Fatalf("%s, %s: %v", name, file, err)
			}
			plain, err := parse(b)
			if err != nil {
				t.Fatal(err)
			}
			named := map[string]realTensor{}
			for _, x := range w.items[file] {
				if x.tensor != nil {
					named[x.fqn] = *x.tensor
				}
			}
			if len(l.Tensors) != len(named) || !reflect.DeepEqual(l.Sums, plain.Sums) {
				t.Errorf("%s, %s: %v, want %v", name, file, dump(l), dump(plain))
			}
			for i, x := range l.Tensors {
				if err := named[x.Name].equal(b, Tensor{DType: x.DType, Shape: x.Shape, Stride: named[x.Name].stride, Offset: x.Offset}); err != nil {
					t.Errorf("%s, %s: %s: %v", name, file, x.Name, err)
				}
				if x.Name = plain.Tensors[i].Name; !reflect.DeepEqual(x, plain.Tensors[i]) {
					t.Errorf("%s, %s: %v, but %v without names", name, file, x, plain.Tensors[i])
				}
			}
		}
	}
}

// Chunks of one tensor in a file are told apart.
func TestParseNamedChunks(t *testing.T) {
	want := []string{"embed.weight[0,0]", "embed.weight[2,0]", "norm.weight", "norm.bias", "head.weight[0,0]", "head.weight[2,0]", "head.bias"}
	for _, name := range realFiles(t, "dcp_halves.metadata") {
		b := fixture(t, distcpFile(name, "__0_0.distcp"))
		l, err := ParseNamed(bytes.NewReader(b), int64(len(b)), readMetadata(t, name)["__0_0.distcp"])
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		var got []string
		for _, x := range l.Tensors {
			got = append(got, x.Name)
		}
		slices.Sort(got)
		if slices.Sort(want); !slices.Equal(got, want) {
			t.Errorf("%s: %q", name, got)
		}
	}
	for _, c := range []struct {
		fqn, want string
		role      tensor.Role
		weight    string
	}{
		{"w", "w[0,12]", tensor.Weight, "w[0,12]"},
		{"optimizer.state.w.exp_avg", "optimizer.state.w[0,12].exp_avg", tensor.ExpAvg, "w[0,12]"},
		{"state.w.exp_avg_sq", "state.w[0,12].exp_avg_sq", tensor.ExpAvgSq, "w[0,12]"},
		{"exp_avg.w", "exp_avg.w[0,12]", tensor.ExpAvg, "w[0,12]"},
	} {
		got := chunkName(c.fqn, []int64{0, 12})
		if role, weight := tensor.RoleOf(got); got != c.want || role != c.role || weight != c.weight {
			t.Errorf("%s: %s is %v of %s", c.fqn, got, role, weight)
		}
	}
}

// Items that are not of the file are refused.
func TestParseNamedOthers(t *testing.T) {
	b := fixture(t, "zips.distcp")
	n := int64(len(b))
	at := fmt.Sprint
	for _, c := range []struct {
		items  []Item
		reason string
	}{
		{nil, "items of 0 bytes, not " + at(n)},
		{[]Item{{Offset: 0, Length: n - 1}}, "items of " + at(n-1)},
		{[]Item{{Offset: 0, Length: n + 1}}, "item"},
		{[]Item{{Offset: 1, Length: n - 1}}, "at byte 1, not 0"},
		{[]Item{{Offset: 0, Length: -1}}, "item"},
		{[]Item{{Offset: 0, Length: 9}, {Offset: 8, Length: n - 8}}, "at byte 8, not 9"},
		{[]Item{{Offset: 0, Length: n}}, "no torch zip among 1 items"},
	} {
		l, err := ParseNamed(bytes.NewReader(b), n, c.items)
		if !isMalformed(err) || !strings.Contains(err.Error(), c.reason) {
			t.Errorf("%v: %v, %v", c.items, l, err)
		}
	}
	// Of an item that is no zip the bytes are verbatim, wherever it is.
	b = append(fixture(t, "tensor.pt"), "raw"...)
	n = int64(len(b))
	l, err := ParseNamed(bytes.NewReader(b), n, []Item{{0, n - 3, "a", nil}, {n - 3, 3, "b", nil}})
	if err != nil || len(l.Tensors) != 1 || l.Tensors[0].Name != "a" {
		t.Errorf("%v, %v", l, err)
	}
	// Names that come out equal are made different.
	two := append(fixture(t, "optimizer.pt"), fixture(t, "tensor.pt")...)
	cut := int64(len(fixture(t, "optimizer.pt")))
	l, err = ParseNamed(bytes.NewReader(two), int64(len(two)), []Item{{0, cut, "o", nil}, {cut, int64(len(two)) - cut, "o.state.0.step", nil}})
	if err != nil || l.Tensors[len(l.Tensors)-1].Name != "o.state.0.step#0" {
		t.Errorf("%v, %v", l, err)
	}
}

// Files of a checkpoint in the format of safetensors are not ours and have no items.
func TestDistcpSafetensors(t *testing.T) {
	const name = "v2.15.0_dcp_safetensors.metadata"
	if files := readMetadata(t, name); len(files) > 0 {
		t.Errorf("%v", files)
	}
	b := fixture(t, distcpFile(name, "__0_0.distcp"))
	if l, err := parse(b); !isMalformed(err) || Sniff(b[:32]) {
		t.Errorf("%v, %v", l, err)
	}
	l, err := safetensors.Parse(bytes.NewReader(b), int64(len(b)))
	if err != nil || len(l.Tensors) != 5 || !slices.ContainsFunc(l.Tensors, func(x tensor.Info) bool { return x.Name == "embed.weight" }) {
		t.Errorf("%v, %v", l, err)
	}
}

// metadataPickle is metadata of one item; each part may be replaced.
func metadataPickle(change ...string) string {
	s := "\x80\x02ctorch.distributed.checkpoint.metadata\nMetadata\n)\x81}U\x0cstorage_data}" +
		"ctorch.distributed.checkpoint.metadata\nMetadataIndex\n)\x81}(U\x03fqnU\x01wU\x06offsetctorch\nSize\nK\x02\x85\x85Rub" +
		"ctorch.distributed.checkpoint.filesystem\n_StorageInfo\n)\x81}(U\x0drelative_pathU\x01fU\x06offsetK\x05U\x06lengthK\x07ubssb."
	return strings.NewReplacer(change...).Replace(s)
}

func TestMalformedMetadata(t *testing.T) {
	parse := func(s string) (map[string][]Item, error) { return Metadata(strings.NewReader(s), int64(len(s))) }
	want := map[string][]Item{"f": {{5, 7, "w", []int64{2}}}}
	for _, s := range []string{metadataPickle(), metadataPickle("checkpoint", "_shard.checkpoint")} {
		if got, err := parse(s); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%v, %v", got, err)
		}
	}
	if got, err := parse(metadataPickle("U\x06offsetctorch\nSize\nK\x02\x85\x85R", "")); err != nil || got["f"][0].Chunk != nil {
		t.Errorf("no offset: %v, %v", got, err)
	}
	for _, c := range []struct{ name, file, reason string }{
		{"nothing", "", "0 are left"},
		{"another object", "N.", "no metadata"},
		{"another class", metadataPickle("Metadata\n", "Data\n"), "no metadata"},
		{"another module", metadataPickle("torch.distributed", "evil.distributed"), "no metadata"},
		{"an index of another class", metadataPickle("MetadataIndex", "Index"), "entry 0"},
		{"a place of another class", metadataPickle("_StorageInfo", "_Info"), "entry 0"},
		{"a place of another module", metadataPickle("filesystem", "system"), "entry 0"},
		{"no name", metadataPickle("U\x03fqn", "U\x03fqm"), "entry 0"},
		{"a name that is a number", metadataPickle("U\x01w", "K\x01"), "entry 0"},
		{"a long name", metadataPickle("U\x01w", "T\x01\x04\x00\x00"+strings.Repeat("w", maxName+1)), "entry 0"},
		{"no file", metadataPickle("relative", "absolute"), "entry 0"},
		{"no length", metadataPickle("length", "lenght"), "entry 0"},
		{"negative offset", metadataPickle("K\x05", "J\xff\xff\xff\xff"), "entry 0"},
		{"negative length", metadataPickle("K\x07", "J\xff\xff\xff\xff"), "entry 0"},
		{"endless", metadataPickle("K\x05", "\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7f"), "entry 0"},
		{"negative chunk", metadataPickle("K\x02", "J\xff\xff\xff\xff"), "entry 0"},
		{"a chunk that is a number", metadataPickle("ctorch\nSize\nK\x02\x85\x85R", "K\x02"), "entry 0"},
		{"more behind", metadataPickle() + ".", "1 bytes after"},
		{"an opcode", metadataPickle("K\x05", "\xff"), "opcode 0xff"},
	} {
		if got, err := parse(c.file); !isMalformed(err) || !strings.Contains(err.Error(), c.reason) {
			t.Errorf("%s: %v, %v; want %q", c.name, got, err, c.reason)
		}
	}
	if got, err := Metadata(strings.NewReader(""), maxPickle+1); !isMalformed(err) {
		t.Errorf("%v, %v", got, err)
	}
	good := string(fixture(t, realFiles(t, "dcp.metadata")[0]))
	for n := range len(good) {
		if got, err := parse(good[:n]); !isMalformed(err) {
			t.Fatalf("cut to %d bytes: %v, %v", n, slices.Collect(maps.Keys(got)), err)
		}
	}
}
