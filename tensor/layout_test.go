package tensor

import (
	"encoding/hex"
	"errors"
	"math"
	"reflect"
	"strings"
	"testing"
)

func TestProduct(t *testing.T) {
	for _, c := range []struct {
		shape []int64
		want  int64
		ok    bool
	}{
		{nil, 1, true},
		{[]int64{7}, 7, true},
		{[]int64{3, 4, 5}, 60, true},
		{[]int64{0}, 0, true},
		{[]int64{0, math.MaxInt64, math.MaxInt64}, 0, true},
		{[]int64{math.MaxInt64}, math.MaxInt64, true},
		{[]int64{math.MaxInt64, 1}, math.MaxInt64, true},
		{[]int64{math.MaxInt64, 2}, 0, false},
		{[]int64{1 << 32, 1 << 31}, 0, false},
		{[]int64{1 << 32, 1 << 30}, 1 << 62, true},
		{[]int64{-1}, 0, false},
		{[]int64{0, -1}, 0, false},
		{[]int64{-2, -3}, 0, false},
	} {
		n, ok := Product(c.shape)
		if n != c.want || ok != c.ok {
			t.Errorf("%v: %d, %v", c.shape, n, ok)
		}
		elems := c.want
		if !c.ok {
			elems = math.MaxInt64
		}
		if got := (Info{Shape: c.shape}).Elems(); got != elems {
			t.Errorf("%v: %d elements", c.shape, got)
		}
	}
}

func TestCheck(t *testing.T) {
	f32 := func(name string, off, n int64) Info { return Info{name, F32, []int64{n}, off, 4 * n} }
	for _, c := range []struct {
		name    string
		size    int64
		tensors []Info
		want    string // "": sound
	}{
		{"empty file", 0, nil, ""},
		{"no tensors", 9, nil, ""},
		{"gaps everywhere", 30, []Info{f32("a", 3, 2), f32("b", 12, 1)}, ""},
		{"to the last byte", 8, []Info{f32("a", 0, 2)}, ""},
		{"empty tensor at the end", 8, []Info{f32("a", 0, 2), f32("b", 8, 0)}, ""},
		{"half bytes round up", 2, []Info{{"a", F4, []int64{3}, 0, 2}}, ""},
		{"scalar", 8, []Info{{"a", I64, nil, 0, 8}}, ""},
		{"overlap", 8, []Info{f32("a", 0, 1), f32("b", 3, 1)}, `tensor 1 ("b"): bytes 3+4 overlap or leave`},
		{"out of order", 8, []Info{f32("a", 4, 1), f32("b", 0, 1)}, `tensor 1 ("b"): bytes 0+4 overlap or leave`},
		{"beyond the end", 7, []Info{f32("a", 4, 1)}, "overlap or leave the file of 7 bytes"},
		{"far beyond the end", 7, []Info{f32("a", math.MaxInt64-2, 1)}, "overlap or leave"},
		{"before the start", 7, []Info{f32("a", -1, 1)}, "overlap or leave"},
		{"unknown dtype", 8, []Info{{"a", Invalid, []int64{2}, 0, 8}}, `tensor "a": unknown dtype`},
		{"later dtype", 8, []Info{{"a", maxDType, []int64{2}, 0, 8}}, `tensor "a": unknown dtype`},
		{"wrong length", 8, []Info{{"a", F32, []int64{2}, 0, 7}}, `tensor "a": 7 bytes, but F32 [2] needs 8`},
		{"negative dimension", 8, []Info{{"a", F32, []int64{-2}, 0, 8}}, "is too large"},
		{"elements overflow", 8, []Info{{"a", F32, []int64{1 << 40, 1 << 40}, 0, 8}}, "is too large"},
		{"bits overflow", 8, []Info{{"a", F64, []int64{1 << 58}, 0, 0}}, "is too large"},
	} {
		err := (&Layout{Size: c.size, Tensors: c.tensors}).Check()
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
}

func TestCheckSums(t *testing.T) {
	l := Layout{Size: 40, Tensors: []Info{{"a", F32, []int64{2}, 4, 8}, {"none", U8, []int64{0}, 16, 0}, {"b", F32, []int64{1}, 24, 4}}}
	for _, c := range []struct {
		name string
		sums []Sum
		want string // "": sound
	}{
		{"none", nil, ""},
		{"of no place", []Sum{{0, nil}}, ""},
		{"at every edge", []Sum{{0, []int64{0, 12}}, {2, []int64{16, 20, 36}}}, ""},
		{"of no tensor", []Sum{{3, []int64{0}}}, "checksum 0 is of tensor 3, of 3"},
		{"before the first tensor", []Sum{{-1, []int64{0}}}, "of tensor -1"},
		{"twice of a tensor", []Sum{{1, nil}, {1, nil}}, "checksum 1 is of tensor 1"},
		{"out of order", []Sum{{2, nil}, {0, nil}}, "checksum 1 is of tensor 0"},
		{"offsets out of order", []Sum{{0, []int64{12, 0}}}, `of tensor "a" at byte 0 is out of order`},
		{"one place twice", []Sum{{0, []int64{12, 12}}}, "at byte 12 is out of order"},
		{"runs into its tensor", []Sum{{0, []int64{1}}}, "at byte 1 is out of order or not in verbatim bytes"},
		{"in another tensor", []Sum{{0, []int64{24}}}, "at byte 24"},
		{"in the end of a tensor", []Sum{{0, []int64{11}}}, "at byte 11"},
		{"over an empty tensor", []Sum{{0, []int64{14}}}, "at byte 14"},
		{"beyond the end", []Sum{{0, []int64{37}}}, "at byte 37"},
		{"far beyond the end", []Sum{{0, []int64{math.MaxInt64}}}, "at byte 9223372036854775807"},
		{"before the start", []Sum{{0, []int64{-1}}}, "at byte -1"},
		{"two in one place", []Sum{{0, []int64{12}}, {2, []int64{12}}}, "at bytes 12 and 12 overlap"},
		{"two that overlap", []Sum{{0, []int64{30}}, {2, []int64{28, 33}}}, "at bytes 28 and 30 overlap"},
	} {
		l.Sums = c.sums
		err := l.Check()
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
	if err := (&Layout{Size: 3, Tensors: []Info{{"a", U8, []int64{0}, 0, 0}}, Sums: []Sum{{0, []int64{0}}}}).Check(); err == nil {
		t.Error("a checksum of 4 bytes in a file of 3")
	}
}

func TestGaps(t *testing.T) {
	at := func(off, n int64) Info { return Info{Offset: off, Length: n} }
	for _, c := range []struct {
		size    int64
		tensors []Info
		want    [][2]int64
	}{
		{0, nil, nil},
		{5, nil, [][2]int64{{0, 5}}},
		{5, []Info{at(0, 5)}, nil},
		{9, []Info{at(2, 3), at(5, 0), at(5, 1)}, [][2]int64{{0, 2}, {6, 3}}},
		{9, []Info{at(0, 3), at(4, 5)}, [][2]int64{{3, 1}}},
		{9, []Info{at(4, 0)}, [][2]int64{{0, 4}, {4, 5}}},
	} {
		l := &Layout{Size: c.size, Tensors: c.tensors}
		var got [][2]int64
		if err := l.Gaps(func(off, n int64) error { got = append(got, [2]int64{off, n}); return nil }); err != nil {
			t.Error(err)
		}
		if !reflect.DeepEqual(got, c.want) {
			t.Errorf("%v: %v, want %v", c.tensors, got, c.want)
		}
		stop, calls := errors.New("stop"), 0
		err := l.Gaps(func(int64, int64) error { calls++; return stop })
		if len(c.want) > 0 && (err != stop || calls != 1) {
			t.Errorf("%v: %v after %d calls", c.tensors, err, calls)
		}
	}
}

// The schema is stored in archives: its value may not change.
func TestSchema(t *testing.T) {
	l := &Layout{Size: 100, Tensors: []Info{{"a.weight", F32, []int64{2, 3}, 8, 24}, {"step", I64, nil, 32, 8}}}
	s := l.Schema()
	if got := hex.EncodeToString(s[:]); got != "47a10054e10ce2f2ed55e34e9d12790f" {
		t.Errorf("schema %s", got)
	}
	same := &Layout{Format: "other", Size: 5, Tensors: []Info{{"a.weight", F32, []int64{2, 3}, 9, 1}, {"step", I64, []int64{}, 0, 0}}}
	if same.Schema() != s {
		t.Error("schema depends on more than names, dtypes and shapes")
	}
	for _, other := range [][]Info{
		nil,
		{l.Tensors[0]},
		{l.Tensors[1], l.Tensors[0]},
		{{Name: "a.weigh", DType: F32, Shape: []int64{2, 3}}, l.Tensors[1]},
		{{Name: "a.weight", DType: I32, Shape: []int64{2, 3}}, l.Tensors[1]},
		{{Name: "a.weight", DType: F32, Shape: []int64{3, 2}}, l.Tensors[1]},
		{{Name: "a.weight", DType: F32, Shape: []int64{6}}, l.Tensors[1]},
	} {
		if (&Layout{Tensors: other}).Schema() == s {
			t.Errorf("%v has the same schema", other)
		}
	}
}
