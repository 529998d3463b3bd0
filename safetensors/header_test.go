package safetensors

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"testing/iotest"

	"excpfs/tensor"
)

// file is a safetensors file with this header and that many bytes of data.
func file(header string, data int) []byte {
	b := binary.LittleEndian.AppendUint64(nil, uint64(len(header)))
	b = append(b, header...)
	for i := range data {
		b = append(b, byte(i))
	}
	return b
}

func parse(b []byte) (*tensor.Layout, error) { return Parse(bytes.NewReader(b), int64(len(b))) }

func TestParse(t *testing.T) {
	header := `{"__metadata__":{"format":"pt","":"\u00e9"},` +
		`"z":{"dtype":"U8","shape":[0,9],"data_offsets":[4,4]},` +
		`"b":{"shape":[2,2],"data_offsets":[4,12],"dtype":"BF16"},` +
		`"a":{"dtype":"F32","shape":[],"data_offsets":[0,4]},` +
		`"e":{"dtype":"U8","shape":[0],"data_offsets":[4,4]},` +
		`"\"q\"": { "dtype" : "F4" , "shape" : [ 2 , 3 ] , "data_offsets" : [ 12 , 15 ] }}  `
	b := file(header, 15)
	l, err := parse(b)
	if err != nil {
		t.Fatal(err)
	}
	at := int64(8 + len(header))
	want := &tensor.Layout{Format: "safetensors", Size: int64(len(b)), Tensors: []tensor.Info{
		{Name: "a", DType: tensor.F32, Offset: at, Length: 4},
		{Name: "e", DType: tensor.U8, Shape: []int64{0}, Offset: at + 4},
		{Name: "z", DType: tensor.U8, Shape: []int64{0, 9}, Offset: at + 4},
		{Name: "b", DType: tensor.BF16, Shape: []int64{2, 2}, Offset: at + 4, Length: 8},
		{Name: `"q"`, DType: tensor.F4, Shape: []int64{2, 3}, Offset: at + 12, Length: 3},
	}}
	if !reflect.DeepEqual(l, want) {
		t.Errorf("got %+v\nwant %+v", l, want)
	}
	if err := l.Check(); err != nil {
		t.Error(err)
	}
	if !Sniff(b[:9], int64(len(b))) {
		t.Error("Sniff does not know it")
	}
}

func TestParseEmpty(t *testing.T) {
	for _, h := range []string{"{}", "{}      ", `{"__metadata__":{}}`} {
		l, err := parse(file(h, 0))
		if err != nil || len(l.Tensors) != 0 || l.Size != int64(8+len(h)) {
			t.Errorf("%s: %+v, %v", h, l, err)
		}
	}
}

// Every dtype of the format has a name that its own library accepts and a size.
func TestParseDTypes(t *testing.T) {
	bits := map[string]int{"BOOL": 8, "U8": 8, "I8": 8, "F8_E5M2": 8, "F8_E4M3": 8, "F8_E8M0": 8, "F8_E4M3FNUZ": 8,
		"F8_E5M2FNUZ": 8, "I16": 16, "U16": 16, "F16": 16, "BF16": 16, "I32": 32, "U32": 32, "F32": 32, "I64": 64, "U64": 64,
		"F64": 64, "C64": 64, "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6}
	for name, n := range bits {
		h := `{"t":{"dtype":"` + name + `","shape":[8],"data_offsets":[0,` + strconv.Itoa(n) + `]}}`
		if l, err := parse(file(h, n)); err != nil || l.Tensors[0].DType.String() != name {
			t.Errorf("%s: %v", name, err)
		}
	}
	for d := tensor.DType(1); d.Valid(); d++ {
		if bits[d.String()] != d.Bits() {
			t.Errorf("%s has %d bits", d, d.Bits())
		}
	}
}

func TestMalformed(t *testing.T) {
	one := func(fields string) string { return `{"t":{` + fields + `}}` }
	good := `"dtype":"U8","shape":[1],"data_offsets":[0,1]`
	length := func(n uint64) []byte { return append(binary.LittleEndian.AppendUint64(nil, n), "{}"...) }
	two := func(a, b, c, d string) string {
		return `{"a":{"dtype":"U8","shape":[2],"data_offsets":[` + a + `,` + b + `]},` +
			`"b":{"dtype":"U8","shape":[2],"data_offsets":[` + c + `,` + d + `]}}`
	}
	for _, c := range []struct {
		name   string
		file   []byte
		reason string
	}{
		{"nothing", nil, "0 bytes are too few"},
		{"7 bytes", make([]byte, 7), "7 bytes are too few"},
		{"no header", length(0), "header of 0 bytes"},
		{"header of one byte", length(1), "header of 1 bytes"},
		{"header longer than the file", length(3), "header of 3 bytes in a file of 10"},
		{"header at the cap", length(MaxHeader), "header of 100000000 bytes in a file of 10"},
		{"header beyond the cap", length(MaxHeader + 1), "header length 100000001 is beyond 100000000"},
		{"header length of all ones", length(1<<64 - 1), "header length 18446744073709551615 is beyond"},
		{"space first", file(" {}", 0), "header does not begin with {"},
		{"array", file("[1]", 0), "header does not begin with {"},
		{"not UTF-8", file("{\"\xff\":1}", 0), "header is not UTF-8"},
		{"cut JSON", file(`{"t":{"dtype":"U8"`, 0), `tensor "t": EOF`},
		{"comma at the end", file(one(good+","), 1), `tensor "t": invalid character '}'`},
		{"no comma", file(one(`"dtype":"U8" "shape":[1]`), 1), `tensor "t": invalid character '"'`},
		{"NUL after the JSON", file("{}\x00", 0), "something other than spaces after the JSON"},
		{"newline after the JSON", file("{}\n", 0), "something other than spaces after the JSON"},
		{"a second value", file("{}{}", 0), "something other than spaces after the JSON"},
		{"name twice", file(`{"t":{`+good+`},"t":{`+good+`}}`, 1), `header: "t" twice`},
		{"name twice, escaped", file(`{"t":{`+good+`},"\u0074":{`+good+`}}`, 1), `header: "t" twice`},
		{"field twice", file(one(good+`,"dtype":"U8"`), 1), `tensor "t": "dtype" twice`},
		{"metadata twice", file(`{"__metadata__":{},"__metadata__":{}}`, 0), `header: "__metadata__" twice`},
		{"metadata number", file(`{"__metadata__":{"a":1}}`, 0), `__metadata__: 1 is not a string`},
		{"metadata null", file(`{"__metadata__":null}`, 0), `__metadata__: <nil> where { should be`},
		{"metadata nested", file(`{"__metadata__":{"a":{}}}`, 0), `__metadata__: { is not a string`},
		{"tensor is a list", file(`{"t":["U8",[1],[0,1]]}`, 1), `tensor "t": [ where { should be`},
		{"deep nesting", file(`{"t":`+strings.Repeat("[", 1<<20), 0), `tensor "t": [ where { should be`},
		{"deep nesting in a shape", file(`{"t":{"shape":`+strings.Repeat("[", 1<<20), 0), `shape: [ is not a size`},
		{"unknown field", file(one(good+`,"x":1`), 1), `tensor "t": unknown field "x"`},
		{"missing field", file(one(`"dtype":"U8","shape":[1]`), 1), `tensor "t": needs dtype, shape and data_offsets`},
		{"no field", file(one(``), 0), `tensor "t": needs dtype, shape and data_offsets`},
		{"dtype is a number", file(one(`"dtype":8,"shape":[1],"data_offsets":[0,1]`), 1), `dtype: 8 is not a string`},
		{"unknown dtype", file(one(`"dtype":"F5","shape":[1],"data_offsets":[0,1]`), 1), `unknown dtype "F5"`},
		{"dtype in lower case", file(one(`"dtype":"u8","shape":[1],"data_offsets":[0,1]`), 1), `unknown dtype "u8"`},
		{"no dtype", file(one(`"dtype":"invalid","shape":[0],"data_offsets":[0,0]`), 0), `unknown dtype "invalid"`},
		{"negative dimension", file(one(`"dtype":"U8","shape":[-1],"data_offsets":[0,1]`), 1), `shape: -1 is not a size`},
		{"fraction", file(one(`"dtype":"U8","shape":[1.0],"data_offsets":[0,1]`), 1), `shape: 1.0 is not a size`},
		{"exponent", file(one(`"dtype":"U8","shape":[1e0],"data_offsets":[0,1]`), 1), `shape: 1e0 is not a size`},
		{"dimension of 2^63", file(one(`"dtype":"U8","shape":[9223372036854775808],"data_offsets":[0,1]`), 1), `is not a size`},
		{"dimension is a string", file(one(`"dtype":"U8","shape":["1"],"data_offsets":[0,1]`), 1), `shape: 1 is not a size`},
		{"shape overflows", file(one(`"dtype":"U8","shape":[4294967296,4294967296],"data_offsets":[0,1]`), 1), `is too large`},
		{"shape overflows to nothing", file(one(`"dtype":"U8","shape":[4294967296,4294967296,0],"data_offsets":[0,0]`), 0), `is too large`},
		{"bits overflow", file(one(`"dtype":"F64","shape":[1152921504606846976],"data_offsets":[0,0]`), 0), `is too large`},
		{"one offset", file(one(`"dtype":"U8","shape":[1],"data_offsets":[0]`), 1), `tensor "t": 1 data_offsets`},
		{"three offsets", file(one(`"dtype":"U8","shape":[1],"data_offsets":[0,1,2]`), 1), `tensor "t": 3 data_offsets`},
		{"offsets reversed", file(one(`"dtype":"U8","shape":[1],"data_offsets":[1,0]`), 1), `data_offsets 1 to 0`},
		{"length not of the shape", file(one(`"dtype":"F32","shape":[1],"data_offsets":[0,3]`), 3), `3 bytes, but F32 [1] needs 4`},
		{"half a byte", file(one(`"dtype":"F4","shape":[3],"data_offsets":[0,2]`), 2), `F4 [3] does not fill whole bytes`},
		{"gap at the front", file(one(`"dtype":"U8","shape":[1],"data_offsets":[1,2]`), 2), `begins at byte 1 of the data, not 0`},
		{"gap inside", file(two("0", "2", "3", "5"), 5), `"b" begins at byte 3 of the data, not 2`},
		{"overlap", file(two("0", "2", "1", "3"), 4), `"b" begins at byte 1 of the data, not 2`},
		{"the same bytes", file(two("0", "2", "0", "2"), 4), `"b" begins at byte 0 of the data, not 2`},
		{"hole at the end", file(two("0", "2", "2", "4"), 5), `1 bytes after the last tensor`},
		{"data without a tensor", file("{}", 1), `1 bytes after the last tensor`},
		{"data cut", file(two("0", "2", "2", "4"), 3), `"b" ends at byte 4 of the data, which has 3`},
		{"far offset", file(one(`"dtype":"U8","shape":[1],"data_offsets":[9223372036854775806,9223372036854775807]`), 1), `begins at byte 9223372036854775806`},
	} {
		l, err := parse(c.file)
		f, ok := errors.AsType[*FormatError](err)
		if !ok || !strings.Contains(f.Reason, c.reason) {
			t.Errorf("%s: %v, %v; want %q", c.name, l, err, c.reason)
		}
	}
}

func TestSniff(t *testing.T) {
	for _, c := range []struct {
		head string
		size int64
		want bool
	}{
		{"\x02\x00\x00\x00\x00\x00\x00\x00{", 10, true},
		{"\x02\x00\x00\x00\x00\x00\x00\x00{", 9, false},
		{"\x02\x00\x00\x00\x00\x00\x00\x00", 10, false},
		{"\x02\x00\x00\x00\x00\x00\x00\x00[", 10, false},
		{"\x01\x00\x00\x00\x00\x00\x00\x00{", 10, false},
		{"\x02\x00\x00\x00\x00\x00\x00\x01{", 10, false},
		{"PK\x03\x04\x00\x00\x08\x08{", 1 << 40, false},
		{"", 0, false},
	} {
		if Sniff([]byte(c.head), c.size) != c.want {
			t.Errorf("Sniff(%q, %d) is not %v", c.head, c.size, c.want)
		}
	}
}

// A fault of the reader is not a verdict about the file.
func TestReadError(t *testing.T) {
	b := file("{}", 0)
	for _, size := range []int64{11, 8 + 2 + 1<<20} {
		long := append([]byte(nil), b...)
		binary.LittleEndian.PutUint64(long, uint64(size-8))
		_, err := Parse(bytes.NewReader(long), size)
		if !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("short file: %v", err)
		}
	}
	_, err := Parse(failing{}, 100)
	if _, ok := errors.AsType[*FormatError](err); ok || !errors.Is(err, iotest.ErrTimeout) {
		t.Errorf("failing reader: %v", err)
	}
}

type failing struct{}

func (failing) ReadAt([]byte, int64) (int, error) { return 0, iotest.ErrTimeout }
