package torchfile

import "strconv"

// Limits of a pickle. A file beyond them is left alone.
const (
	maxPickle = 256 << 20 // bytes
	maxValues = 1 << 23   // values pushed, which bounds stack and memo
	maxThings = 1 << 21   // of them lists, dicts and objects, some hundred bytes each
)

// machine walks one pickle. It makes values of containers and of what describes
// storages, and executes nothing.
type machine struct {
	s      *source
	start  int64
	stack  []value
	marks  []int // heights of the stack
	memo   []value
	pushed int
	things int // containers among them; one pushed again counts again

	storages map[string]*storage
	order    []*storage // as they first come
}

// walk reads a pickle up to its STOP.
func walk(s *source) (*machine, value, error) {
	m := &machine{s: s, start: s.pos, storages: map[string]*storage{}}
	for {
		at := s.pos
		op, err := s.byte()
		if err != nil {
			return nil, nil, err
		}
		if op == '.' {
			v, err := m.pop()
			return m, v, err
		}
		step := ops[op]
		if step == nil {
			return nil, nil, malformed("opcode %#02x at byte %d", op, at)
		}
		if err := step(m); err != nil {
			return nil, nil, err
		}
		if s.pos-m.start > maxPickle {
			return nil, nil, malformed("pickle of more than %d bytes", maxPickle)
		}
	}
}

func (m *machine) push(v value) error {
	if m.pushed++; m.pushed > maxValues {
		return malformed("pickle of more than %d values", maxValues)
	}
	switch v.(type) {
	case *list, *dict, *object, *view:
		if m.things++; m.things > maxThings {
			return malformed("pickle of more than %d objects", maxThings)
		}
	}
	m.stack = append(m.stack, v)
	return nil
}

// items is how many values lie above the last mark.
func (m *machine) items() int {
	if n := len(m.marks); n > 0 {
		return len(m.stack) - m.marks[n-1]
	}
	return len(m.stack)
}

func (m *machine) underflow() error {
	return malformed("pickle takes from an empty stack before byte %d", m.s.pos)
}

func (m *machine) top() (value, error) {
	if m.items() == 0 {
		return nil, m.underflow()
	}
	return m.stack[len(m.stack)-1], nil
}

func (m *machine) pop() (value, error) {
	v, err := m.top()
	if err == nil {
		m.stack = m.stack[:len(m.stack)-1]
	}
	return v, err
}

// popN takes the last n values in the order in which they were pushed.
func (m *machine) popN(n int) ([]value, error) {
	if m.items() < n {
		return nil, m.underflow()
	}
	at := len(m.stack) - n
	v := append([]value(nil), m.stack[at:]...)
	m.stack = m.stack[:at]
	return v, nil
}

// popMark takes all values above the last mark, and the mark.
func (m *machine) popMark() ([]value, error) {
	if len(m.marks) == 0 {
		return nil, malformed("pickle without a mark before byte %d", m.s.pos)
	}
	v, err := m.popN(m.items())
	m.marks = m.marks[:len(m.marks)-1]
	return v, err
}

// put stores the top of the stack. Picklers number what they store in order, so
// a number beyond the count of values is a fault.
func (m *machine) put(i uint64) error {
	v, err := m.top()
	switch {
	case err != nil:
		return err
	case i >= uint64(m.pushed)+1:
		return malformed("pickle stores value %d of %d", i, m.pushed)
	}
	for uint64(len(m.memo)) <= i {
		m.memo = append(m.memo, nil)
	}
	m.memo[i] = v
	return nil
}

func (m *machine) get(i uint64) error {
	if i >= uint64(len(m.memo)) {
		return malformed("pickle wants value %d of %d", i, len(m.memo))
	}
	return m.push(m.memo[i])
}

// number reads a decimal number on a line of its own.
func (m *machine) number() (uint64, error) {
	line, err := m.s.line()
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseUint(line, 10, 32)
	if err != nil {
		return 0, malformed("%q before byte %d is not a number", line, m.s.pos)
	}
	return n, nil
}
