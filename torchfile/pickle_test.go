package torchfile

import (
	"bytes"
	"fmt"
	"math"
	"os/exec"
	"strings"
	"testing"
)

// show is a value as text, much like Python's.
func show(v value) string {
	all := func(v []value) string {
		var s []string
		for _, v := range v {
			s = append(s, show(v))
		}
		return strings.Join(s, " ")
	}
	switch v := v.(type) {
	case *list:
		if v.tuple {
			return "(" + all(v.items) + ")"
		}
		return "[" + all(v.items) + "]"
	case *dict:
		s := "{" + all(v.items) + "}"
		if v.states != nil {
			s += "." + all(v.states)
		}
		return s
	case *object:
		s := string(v.fn) + show(v.args)
		for _, part := range [][]value{v.items, v.pairs, v.states} {
			if part != nil {
				s += "/" + all(part)
			}
		}
		return s
	case ref:
		return fmt.Sprintf("%s+%d", v.key, v.offset)
	case opaque:
		return "_"
	case string:
		return fmt.Sprintf("%q", v)
	}
	return fmt.Sprint(v)
}

func walkBytes(b string) (*machine, value, error) {
	return walk(newSource(strings.NewReader(b), 0, int64(len(b))))
}

func TestWalk(t *testing.T) {
	for _, c := range []struct{ name, pickle, want string }{
		{"none", "N.", "<nil>"},
		{"protocol and frame", "\x80\x04\x95\x05\x00\x00\x00\x00\x00\x00\x00K\x07.", "7"},
		{"bools", "\x88\x89\x86.", "(true false)"},
		{"old bools", "I01\nI00\n\x86.", "(true false)"},
		{"integers", "(K\xffM\xff\xffJ\xff\xff\xff\xffI-5\nL123L\nt.", "(255 65535 -1 -5 123)"},
		{"longs", "(\x8a\x00\x8a\x01\x80\x8a\x02\x00\x01\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7f\x8a\x09\x00\x00\x00\x00\x00\x00\x00\x80\x00t.",
			"(0 -128 256 9223372036854775807 _)"},
		{"longs of protocol 2", "\x8b\x02\x00\x00\x00\x01\x02.", "513"},
		{"an endless integer", "I99999999999999999999\n.", "_"},
		{"floats", "F1.5\nG\x3f\xf8\x00\x00\x00\x00\x00\x00\x86.", "(_ _)"},
		{"strings", "(S'a'\nVb\nU\x01cT\x01\x00\x00\x00d\x8c\x01eX\x01\x00\x00\x00f\x8d\x01\x00\x00\x00\x00\x00\x00\x00gt.", `("a" "b" "c" "d" "e" "f" "g")`},
		{"a string that is no text", "U\x01\xff.", "_"},
		{"bytes", "(C\x01aB\x01\x00\x00\x00b\x8e\x01\x00\x00\x00\x00\x00\x00\x00c\x96\x01\x00\x00\x00\x00\x00\x00\x00dt.", "(_ _ _ _)"},
		{"lists", "]K\x01a(K\x02K\x03e.", "[1 2 3]"},
		{"list of a mark", "(K\x01K\x02l.", "[1 2]"},
		{"tuples", ")\x85K\x01K\x02\x86K\x03K\x04K\x05\x87\x87.", "((()) (1 2) (3 4 5))"},
		{"dicts", "}K\x01K\x02s(K\x03K\x04u.", "{1 2 3 4}"},
		{"dict of a mark", "(K\x01K\x02d.", "{1 2}"},
		{"sets", "\x8f(K\x01\x90(K\x02\x91\x86.", "([1] (2))"},
		{"drops", "K\x01K\x020(K\x03K\x041.", "1"},
		{"twice", "K\x012\x86.", "(1 1)"},
		{"memo", "K\x01q\x000K\x02r\x01\x00\x00\x000K\x03\x940(h\x00j\x01\x00\x00\x00g2\nt.", "(1 2 3)"},
		{"memo of protocol 0", "(lp0\ng0\na.", "[[...]]"},
		{"names", "(cos\nsystem\nU\x02osU\x06system\x93\x82\x01t.", "(os.system os.system )"},
		{"a call", "cos\nsystem\nU\x02ls\x85R.", `os.system("ls")`},
		{"a class", "(U\x01xios\nsystem\n.", `os.system("x")`},
		{"an object", "(cos\nsystem\nU\x01xo.", `os.system("x")`},
		{"new", "cos\nsystem\n)\x81cos\nsystem\n)}\x92\x86.", "(os.system() (os.system () {}))"},
		{"filled", "cos\nsystem\n)RK\x01aK\x02K\x03s}b.", "os.system()/1/2 3/{}"},
		{"state of a number", "K\x01}b.", "1/{}"},
		{"ordered", "ccollections\nOrderedDict\n)RK\x01K\x02s}b.", "{1 2}.{}"},
		{"ordered, of pairs", "ccollections\nOrderedDict\n]\x85R.", "collections.OrderedDict([])"},
		{"default", "ccollections\ndefaultdict\nc__builtin__\ndict\n\x85RK\x01K\x02s.", "{1 2}"},
		{"size", "ctorch\nSize\nK\x01K\x02\x86\x85R.", "(1 2)"},
		{"not a tensor", "ctorch._utils\n_rebuild_tensor_v2\nN\x85R.", "torch._utils._rebuild_tensor_v2(<nil>)"},
		{"call of no function", "N)R.", "()"},
		{"old persistent id", "Pabc\n.", `"abc"`},
		{"persistent id of nothing", "NQ.", "<nil>"},
		{"view", "(U\x07storagectorch\nFloatStorage\nU\x01kU\x03cpuK\x04(U\x02vkK\x03K\x01ttQ.", "k+3"},
	} {
		_, v, err := walkBytes(c.pickle)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if l, ok := v.(*list); ok && len(l.items) == 1 && l.items[0] == v {
			l.items[0] = global("[...]")
			if c.want = strings.Replace(c.want, "[[...]]", "[[...]]", 1); c.want != show(v) {
				t.Errorf("%s: %s", c.name, show(v))
			}
			continue
		}
		if show(v) != c.want {
			t.Errorf("%s: %s, want %s", c.name, show(v), c.want)
		}
	}
}

func TestMalformedPickle(t *testing.T) {
	for _, c := range []struct{ name, pickle, reason string }{
		{"nothing", "", "1 bytes at byte 0, where 0 are left"},
		{"no end", "N", "where 0 are left"},
		{"empty stack", ".", "empty stack"},
		{"unknown opcode", "\xff.", "opcode 0xff at byte 0"},
		{"buffer outside", "\x97.", "opcode 0x97"},
		{"length", "U\x05abcd", "5 bytes at byte 2, where 4 are left"},
		{"huge length", "X\xff\xff\xff\xff", "4294967295 bytes at byte 5, where 0"},
		{"endless length", "\x8d\xff\xff\xff\xff\xff\xff\xff\xff", "18446744073709551615 bytes"},
		{"huge bytes", "\x8e\xff\xff\xff\xff\xff\xff\xff\x7f", "9223372036854775807 bytes"},
		{"huge number", "\x8b\xff\xff\xff\xff", "4294967295 bytes"},
		{"endless line", "S" + strings.Repeat("a", maxString+1), "line of more than"},
		{"line without an end", "Vabc", "where 0 are left"},
		{"no mark", "N1.", "without a mark"},
		{"below the mark", "N(0.", "empty stack"},
		{"tuple below the mark", "N(N\x86.", "empty stack"},
		{"tuple of nothing", "t.", "without a mark"},
		{"append to a tuple", ")Na.", "appends to a"},
		{"append to a number", "K\x01Na.", "appends to a"},
		{"item of a list", "]NNs.", "sets an item of a"},
		{"a key alone", "}(Nu.", "key without a value"},
		{"a key alone in a dict", "(Nd.", "key without a value"},
		{"memo without a value", "q\x00.", "empty stack"},
		{"memo far away", "Nr\xff\xff\xff\xff.", "stores value 4294967295 of 1"},
		{"memo of nothing", "h\x00.", "wants value 0 of 0"},
		{"memo without a number", "Npx\n.", `"x" before byte 4 is not a number`},
		{"name of a number", "NN\x93.", "name of a <nil>"},
		{"call without arguments", "NR.", "empty stack"},
		{"object of nothing", "(o.", "empty stack"},
		{"frame that is cut", "\x95\x01\x00", "8 bytes at byte 1, where 2"},
	} {
		_, v, err := walkBytes(c.pickle)
		if !isMalformed(err) || !strings.Contains(err.Error(), c.reason) {
			t.Errorf("%s: %v, %v; want %q", c.name, v, err, c.reason)
		}
	}
}

// What is deep or large ends in a refusal, not in a crash.
func TestPickleLimits(t *testing.T) {
	deep := strings.Repeat("]", maxDepth+1) + strings.Repeat("a", maxDepth) + "."
	_, v, err := walkBytes(deep)
	if err == nil {
		err = nameStorages(v)
	}
	if !isMalformed(err) || !strings.Contains(err.Error(), "inside each other") {
		t.Errorf("deep: %v", err)
	}
	_, _, err = walkBytes(strings.Repeat("N", maxValues+1) + ".")
	if !isMalformed(err) || !strings.Contains(err.Error(), "more than 8388608 values") {
		t.Errorf("wide: %v", err)
	}
	_, _, err = walkBytes(strings.Repeat("}", maxThings+1) + ".")
	if !isMalformed(err) || !strings.Contains(err.Error(), "more than 2097152 objects") {
		t.Errorf("many dicts: %v", err)
	}
	// 2^60 paths lead to the storage.
	var many bytes.Buffer
	many.WriteString("(U\x07storagectorch\nHalfStorage\nU\x010U\x03cpuK\x08tQ")
	for i := range 60 {
		fmt.Fprintf(&many, "q%c0h%ch%c\x86", i, i, i)
	}
	many.WriteString(".")
	m, v, err := walkBytes(many.String())
	if err == nil {
		err = nameStorages(v)
	}
	if err != nil || m.order[0].name != strings.TrimSuffix(strings.Repeat("0.", 60), ".") {
		t.Errorf("many paths: %v, %+v", err, m)
	}
}

// What a pickle costs is in proportion to its bytes.
func TestPickleMemory(t *testing.T) {
	const n = 1 << 18
	for _, pattern := range []string{"]", ")", "}", "(", "N\x85", "]\x94", "X\x01\x00\x00\x00a", "K\xff", "M\xff\xff", "cm\nf\n)R", "(U\x07storagectorch\nHalfStorage\nU\x010U\x03cpuK\x08tQ"} {
		pickle := strings.Repeat(pattern, n) + "N."
		before := allocated()
		_, v, err := walkBytes(pickle)
		if err == nil {
			err = nameStorages(v)
		}
		if cost := (allocated() - before) / uint64(len(pickle)); err != nil || cost > 256 {
			t.Errorf("%q: %v, %d bytes allocated for each", pattern, err, cost)
		}
	}
}

// Objects that share their arguments take no more steps than they have bytes.
func TestSharedArguments(t *testing.T) {
	const n = 1 << 17
	pickle := "(" + strings.Repeat("N", n) + "tq\x000cm\nf\nq\x010](" + strings.Repeat("h\x01h\x00R", n) + "e."
	_, v, err := walkBytes(pickle)
	if err == nil {
		err = nameStorages(v)
	}
	if err != nil || len(v.(*list).items) != n {
		t.Error(err)
	}
}

func TestContiguous(t *testing.T) {
	for _, c := range []struct {
		shape, stride []int64
		want          bool
	}{
		{nil, nil, true},
		{[]int64{3}, []int64{1}, true},
		{[]int64{3}, []int64{2}, false},
		{[]int64{2, 3}, []int64{3, 1}, true},
		{[]int64{2, 3}, []int64{1, 2}, false},
		{[]int64{1, 3}, []int64{99, 1}, true},
		{[]int64{2, 1, 3}, []int64{3, 0, 1}, true},
		{[]int64{0, 3}, []int64{7, 7}, false},
		{[]int64{3, 0}, []int64{7, 7}, true},
		{[]int64{2, 3}, []int64{1}, false},
		{[]int64{2, math.MaxInt64}, []int64{math.MaxInt64, 1}, true},
	} {
		if contiguous(c.shape, c.stride) != c.want {
			t.Errorf("%v %v is not %v", c.shape, c.stride, c.want)
		}
	}
}

// Every opcode that Python has is known, but for the ends of pickles and what lies outside of them.
func TestPython(t *testing.T) {
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("SKIPPED: no python3")
	}
	out, err := exec.Command(python, "-c", "import pickletools\nfor o in pickletools.opcodes: print(ord(o.code), o.name)").Output()
	if err != nil {
		t.Skip("SKIPPED: ", err)
	}
	for _, line := range strings.Split(strings.TrimSpace(string(out)), "\n") {
		var code int
		var name string
		fmt.Sscan(line, &code, &name)
		if missing := ops[code] == nil; missing != strings.Contains("STOP NEXT_BUFFER READONLY_BUFFER", name) {
			t.Errorf("%s: missing %v", name, missing)
		}
	}
}
