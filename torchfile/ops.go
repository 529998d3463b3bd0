package torchfile

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// ops are the opcodes of pickle protocols 0 to 5, without those for buffers
// that lie outside of the pickle.
var ops = [256]func(*machine) error{
	0x80: skip(1), // PROTO
	0x95: skip(8), // FRAME

	'N':  constant(nil),
	0x88: constant(true),
	0x89: constant(false),
	'I':  (*machine).intLine,
	'L':  (*machine).intLine,
	'K':  integer(1),
	'M':  integer(2),
	'J':  integer(4),
	0x8a: long(1),
	0x8b: long(4),
	'F':  line(func(string) value { return opaque{} }),
	'G':  scalar(8), // BINFLOAT

	'S':  line(func(s string) value { return strings.Trim(s, `'"`) }),
	'V':  line(func(s string) value { return s }),
	'U':  text(1),
	'T':  text(4),
	0x8c: text(1),
	'X':  text(4),
	0x8d: text(8),
	'C':  blob(1),
	'B':  blob(4),
	0x8e: blob(8),
	0x96: blob(8),

	'(':  (*machine).mark,
	'0':  (*machine).drop,
	'1':  (*machine).dropMark,
	'2':  (*machine).dup,
	']':  fresh(func() value { return &list{} }),
	'}':  fresh(func() value { return &dict{} }),
	0x8f: fresh(func() value { return &list{} }),            // EMPTY_SET
	')':  fresh(func() value { return &list{tuple: true} }), // EMPTY_TUPLE
	'l':  marked(func(v []value) value { return &list{items: v} }),
	't':  marked(func(v []value) value { return &list{items: v, tuple: true} }),
	'd':  (*machine).dict,
	0x91: marked(func(v []value) value { return &list{items: v, tuple: true} }), // FROZENSET
	0x85: tuple(1),
	0x86: tuple(2),
	0x87: tuple(3),
	'a':  (*machine).append1,
	'e':  (*machine).appends,
	0x90: (*machine).appends, // ADDITEMS
	's':  (*machine).setItem,
	'u':  (*machine).setItems,

	'p':  put(func(m *machine) (uint64, error) { return m.number() }),
	'q':  put(func(m *machine) (uint64, error) { return m.s.uint(1) }),
	'r':  put(func(m *machine) (uint64, error) { return m.s.uint(4) }),
	0x94: put(func(m *machine) (uint64, error) { return uint64(len(m.memo)), nil }), // MEMOIZE
	'g':  get(func(m *machine) (uint64, error) { return m.number() }),
	'h':  get(func(m *machine) (uint64, error) { return m.s.uint(1) }),
	'j':  get(func(m *machine) (uint64, error) { return m.s.uint(4) }),

	'c':  (*machine).global,
	0x93: (*machine).stackGlobal,
	0x82: extension(1),
	0x83: extension(2),
	0x84: extension(4),
	'R':  (*machine).reduce,
	0x81: (*machine).reduce, // NEWOBJ
	0x92: (*machine).newObjEx,
	'i':  (*machine).inst,
	'o':  (*machine).obj,
	'b':  (*machine).build,
	'P':  line(func(s string) value { return &object{args: s} }),
	'Q':  (*machine).persID,
}

func skip(n uint64) func(*machine) error {
	return func(m *machine) error { return m.s.skip(n) }
}

func constant(v value) func(*machine) error {
	return func(m *machine) error { return m.push(v) }
}

func fresh(empty func() value) func(*machine) error {
	return func(m *machine) error { return m.push(empty()) }
}

func scalar(n uint64) func(*machine) error {
	return func(m *machine) error {
		if err := m.s.skip(n); err != nil {
			return err
		}
		return m.push(opaque{})
	}
}

func line(fn func(string) value) func(*machine) error {
	return func(m *machine) error {
		s, err := m.s.line()
		if err != nil {
			return err
		}
		return m.push(fn(s))
	}
}

// intLine reads a number that may end in L, or 00 and 01 for a bool.
func (m *machine) intLine() error {
	s, err := m.s.line()
	if err != nil {
		return err
	}
	switch s {
	case "00", "01":
		return m.push(s == "01")
	}
	n, err := strconv.ParseInt(strings.TrimSuffix(s, "L"), 10, 64)
	if err != nil {
		return m.push(opaque{})
	}
	return m.push(n)
}

// integer reads a number of n bytes, which has a sign if it has four.
func integer(n int) func(*machine) error {
	return func(m *machine) error {
		v, err := m.s.uint(n)
		if err != nil {
			return err
		}
		if n == 4 {
			return m.push(int64(int32(v)))
		}
		return m.push(int64(v))
	}
}

// long reads a length of n bytes and a number in two's complement.
func long(n int) func(*machine) error {
	return func(m *machine) error {
		length, err := m.s.uint(n)
		if err != nil {
			return err
		}
		if length > 8 {
			return scalar(length)(m)
		}
		v, err := m.s.uint(int(length))
		if err != nil {
			return err
		}
		unused := 64 - 8*length
		return m.push(int64(v<<unused) >> unused)
	}
}

// text reads a length of n bytes and a string. One that cannot be a name is opaque.
func text(n int) func(*machine) error {
	return func(m *machine) error {
		length, err := m.s.uint(n)
		if err != nil {
			return err
		}
		if length > maxString {
			return scalar(length)(m)
		}
		b, err := m.s.bytes(length)
		switch {
		case err != nil:
			return err
		case !utf8.Valid(b):
			return m.push(opaque{})
		}
		return m.push(string(b))
	}
}

// blob reads a length of n bytes and as many bytes.
func blob(n int) func(*machine) error {
	return func(m *machine) error {
		length, err := m.s.uint(n)
		if err != nil {
			return err
		}
		return scalar(length)(m)
	}
}

func put(index func(*machine) (uint64, error)) func(*machine) error {
	return func(m *machine) error {
		i, err := index(m)
		if err != nil {
			return err
		}
		return m.put(i)
	}
}

func get(index func(*machine) (uint64, error)) func(*machine) error {
	return func(m *machine) error {
		i, err := index(m)
		if err != nil {
			return err
		}
		return m.get(i)
	}
}
