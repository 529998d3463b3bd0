package torchfile

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"excpfs/tensor"
)

func TestTensors(t *testing.T) {
	const half = "(U\x07storagectorch\nHalfStorage\nU\x010U\x03cpuK\x08tQ"
	// v2 is a call with a start, one dimension and its stride, on the storage before it
	v2 := func(start, n, stride byte) string {
		return "ctorch._utils\n_rebuild_tensor_v2\n(" + half + "K" + string([]byte{start}) + "K" + string([]byte{n}) + "\x85K" + string([]byte{stride}) + "\x85\x89}tR"
	}
	for _, c := range []struct{ name, pickle, want string }{
		{"whole", v2(0, 8, 1) + ".", " F16 [8] [1] 0"},
		{"a part", v2(2, 3, 2) + ".", " F16 [3] [2] 2"},
		{"to the last element", v2(1, 2, 6) + ".", " F16 [2] [6] 1"},
		{"empty, far outside", v2(200, 0, 9) + ".", " F16 [0] [9] 200"},
		{"one too far", v2(1, 8, 1) + ".", "leaves its storage"},
		{"one step too far", v2(1, 2, 7) + ".", "leaves its storage"},
		{"endless", strings.Replace(v2(0, 8, 1), "K\x01\x85", "\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7f\x85", 1) + ".", "leaves its storage"},
		{"more strides than dimensions", strings.Replace(v2(0, 8, 1), "K\x01\x85", "K\x01K\x01\x86", 1) + ".", "leaves its storage"},
		{"no such record", strings.Replace(v2(0, 8, 1), "U\x010", "U\x019", 1) + ".", `storage "9" is not in the file`},
		{"unknown type", strings.Replace(v2(0, 8, 1), "HalfStorage", "OurStorage", 1) + ".", " invalid [8] [1] 0"},
		{"tied", "]" + v2(0, 8, 1) + "q\x00ah\x00a.", "0 F16 [8] [1] 0; 1 F16 [8] [1] 0"},
		{"list in two places", "]]" + v2(0, 8, 1) + "aq\x00ah\x00a.", "0.0 F16 [8] [1] 0"},
		{"storage alone", half + ".", ""},
		{"keys with dots", "}U\x03a.b}U\x01c" + v2(0, 8, 1) + "ss.", "a.b.c F16 [8] [1] 0"},
		{"sparse", "ctorch._utils\n_rebuild_sparse_tensor\n" + v2(0, 8, 1) + "\x85R.", ""},
		{"sparse, of no tuple", "ctorch._utils\n_rebuild_sparse_tensor\n" + v2(0, 8, 1) + "R.", ""},
		{"sparse, and outside", "](ctorch._utils\n_rebuild_sparse_tensor\n" + v2(0, 8, 1) + "q\x00\x85Rh\x00e.", "1 F16 [8] [1] 0"},
		{"parameter", "ctorch._utils\n_rebuild_parameter\n(" + v2(0, 8, 1) + "\x88}tR.", " F16 [8] [1] 0"},
		{"wrapper", "ctorch._tensor\n_rebuild_from_type_v2\n(ctorch._utils\n_rebuild_wrapper_subclass\ncmy\nTensor\n)}U\x01a" + v2(0, 8, 1) + "stR.", ""},
		{"part of a distributed tensor", "}U\x01wctorch._tensor\n_rebuild_from_type_v2\n(ctorch._utils\n_rebuild_wrapper_subclass\n" +
			"ctorch.distributed.tensor\nDTensor\n)N}U\x0d_local_tensor" + v2(0, 8, 1) + "s\x86tRs.", "w F16 [8] [1] 0"},
		{"part of something else", "ctorch._tensor\n_rebuild_from_type_v2\n(ctorch._utils\n_rebuild_wrapper_subclass\ncmy\nTensor\n)}U\x0d_local_tensor" + v2(0, 8, 1) + "stR.", ""},
		{"negated", strings.Replace(v2(0, 8, 1), "}tR", "}}U\x03neg\x88stR", 1) + ".", " invalid [8] [1] 0"},
	} {
		b := zipOf(t, []byte(c.pickle), make([]byte, 16))
		all, err := Tensors(bytes.NewReader(b), int64(len(b)))
		var got []string
		for _, x := range all {
			got = append(got, fmt.Sprintf("%s %s %v %v %d", x.Path, x.DType, x.Shape, x.Stride, x.Start))
		}
		text := strings.Join(got, "; ")
		if err != nil {
			text = err.Error()
		}
		if text != c.want && (err == nil || !isMalformed(err) || !strings.Contains(text, c.want)) {
			t.Errorf("%s: %s, want %s", c.name, text, c.want)
		}
		if c.name == "keys with dots" && !reflect.DeepEqual(all[0].Keys, []string{"a.b", "c"}) {
			t.Errorf("%q", all[0].Keys)
		}
	}
	big := fixture(t, "big.pt")
	if all, err := Tensors(bytes.NewReader(big), int64(len(big))); !isMalformed(err) {
		t.Errorf("big-endian: %v, %v", all, err)
	}
	b := fixture(t, "zips.distcp")
	all, err := Tensors(bytes.NewReader(b), int64(len(b)))
	if err != nil || len(all) != 5 || all[1].Path != "1" || !reflect.DeepEqual(all[1].Shape, []int64{4, 3}) || all[1].DType != tensor.F32 {
		t.Errorf("distcp: %+v, %v", all, err)
	}
}

// What lies in an object of an unknown class, there or elsewhere too, is opaque.
func TestOpaque(t *testing.T) {
	const half = "ctorch._utils\n_rebuild_tensor_v2\n((U\x07storagectorch\nHalfStorage\nU\x010U\x03cpuK\x08tQK\x00K\x08\x85K\x01\x85\x89}tR"
	for _, c := range []struct {
		name, pickle string
		want         bool
	}{
		{"dict", "}U\x01w" + half + "s.", false},
		{"parameter", "}U\x01wctorch._utils\n_rebuild_parameter\n(" + half + "\x88}tRs.", false},
		{"OrderedDict", "ccollections\nOrderedDict\n)RU\x01w" + half + "s.", false},
		{"attribute", "cmy\nModel\n)\x81}U\x01w" + half + "sb.", true},
		{"argument", "cmy\nmake\n" + half + "\x85R.", true},
		{"first in a dict", "](}U\x01w" + half + "q\x00scmy\nmake\nh\x00\x85Re.", true},
		{"then in a dict", "](cmy\nmake\n" + half + "q\x00\x85R}U\x01wh\x00se.", true},
	} {
		l, err := parse(zipOf(t, []byte(c.pickle), make([]byte, 16)))
		if err != nil || len(l.Tensors) != 1 || (len(l.Opaque) == 1) != c.want {
			t.Errorf("%s: %+v, %v", c.name, l, err)
		}
	}
}

// Deep lists cannot make the paths of many tensors take more than their share.
func TestTensorsPaths(t *testing.T) {
	const depth, n = 3000, 1 << 15
	pickle := strings.Repeat("]", depth) + "(" + "ctorch._utils\n_rebuild_tensor_v2\n((U\x07storagectorch\nHalfStorage\nU\x010U\x03cpuK\x08tQK\x00K\x08\x85K\x01\x85\x89}tRq\x00" +
		strings.Repeat("h\x00", n) + "e" + strings.Repeat("a", depth-1) + "."
	b := zipOf(t, []byte(pickle), make([]byte, 16))
	before := allocated()
	if all, err := Tensors(bytes.NewReader(b), int64(len(b))); !isMalformed(err) || !strings.Contains(err.Error(), "paths of more than") {
		t.Errorf("%d tensors, %v", len(all), err)
	}
	if cost := allocated() - before; cost > 4*maxPaths {
		t.Errorf("%d bytes allocated", cost)
	}
}

// A comment behind the zip is bytes like others; anything else behind it is not.
func TestComment(t *testing.T) {
	for _, name := range []string{"shared.pt", "no_zip64.pt", "v2.15.0_optimizer.pt"} {
		b := fixture(t, name)
		want, err := parse(b)
		if err != nil {
			t.Fatal(err)
		}
		for _, text := range []string{"x", "a comment", endSig, strings.Repeat(endSig, 20), string(b[:2000]), strings.Repeat("long", max16/4)} {
			c := append(b[:len(b)-2:len(b)-2], binary.LittleEndian.AppendUint16(nil, uint16(len(text)))...)
			c = append(c, text...)
			got, err := parse(c)
			want.Size = int64(len(c))
			if err != nil || !reflect.DeepEqual(got, want) {
				t.Errorf("%s with %d bytes: %v", name, len(text), err)
			}
			for _, bad := range [][]byte{c[:len(c)-1], append(c[:len(c):len(c)], 0), append(b[:len(b):len(b)], c...)} {
				if l, err := parse(bad); !isMalformed(err) {
					t.Errorf("%s: %v, %v", name, l, err)
				}
			}
		}
	}
}

// TestSharedByRoles: a buffer that moments share with other things is no moment.
func TestSharedByRoles(t *testing.T) {
	text := func(s string) string { return "X" + string(binary.LittleEndian.AppendUint32(nil, uint32(len(s)))) + s }
	view := func(name string, first byte) string {
		return text(name) + "ctorch._utils\n_rebuild_tensor_v2\n((" + text("storage") + "ctorch\nFloatStorage\n" + text("0") +
			text("cpu") + "K\x10tQK" + string(first) + "K\x08\x85K\x01\x85\x89ccollections\nOrderedDict\n)RtR"
	}
	for _, c := range []struct {
		a, b string
		want tensor.DType
	}{
		{"a.exp_avg", "b.exp_avg", tensor.F32},
		{"a.exp_avg", "b.exp_avg_sq", tensor.U8},
		{"a.exp_avg", "master", tensor.U8},
		{"weight", "a.exp_avg_sq", tensor.U8},
	} {
		p := zipOf(t, []byte("\x80\x02}("+view(c.a, 0)+view(c.b, 8)+"u."), make([]byte, 64))
		l, err := Parse(bytes.NewReader(p), int64(len(p)))
		if err != nil || len(l.Tensors) != 1 || l.Tensors[0].DType != c.want {
			t.Errorf("%s and %s: %v, %v", c.a, c.b, l, err)
		}
	}
}
