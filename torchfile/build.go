package torchfile

// The opcodes that handle containers, names and calls.

func (m *machine) mark() error {
	if len(m.marks) >= maxValues {
		return malformed("pickle of more than %d marks", maxValues)
	}
	m.marks = append(m.marks, len(m.stack))
	return nil
}

func (m *machine) drop() error {
	_, err := m.pop()
	return err
}

func (m *machine) dropMark() error {
	_, err := m.popMark()
	return err
}

func (m *machine) dup() error {
	v, err := m.top()
	if err != nil {
		return err
	}
	return m.push(v)
}

func marked(fn func([]value) value) func(*machine) error {
	return func(m *machine) error {
		v, err := m.popMark()
		if err != nil {
			return err
		}
		return m.push(fn(v))
	}
}

func tuple(n int) func(*machine) error {
	return func(m *machine) error {
		v, err := m.popN(n)
		if err != nil {
			return err
		}
		return m.push(&list{items: v, tuple: true})
	}
}

func (m *machine) append1() error {
	v, err := m.popN(1)
	if err != nil {
		return err
	}
	return m.extend(v)
}

func (m *machine) appends() error {
	v, err := m.popMark()
	if err != nil {
		return err
	}
	return m.extend(v)
}

// extend appends to what is on top of the stack.
func (m *machine) extend(v []value) error {
	top, err := m.top()
	if err != nil {
		return err
	}
	switch c := top.(type) {
	case *object:
		c.items = append(c.items, v...)
		return nil
	case *list:
		if !c.tuple {
			c.items = append(c.items, v...)
			return nil
		}
	}
	return malformed("pickle appends to a %T before byte %d", top, m.s.pos)
}

func (m *machine) dict() error {
	v, err := m.popMark()
	if err != nil {
		return err
	}
	if err := m.push(&dict{}); err != nil {
		return err
	}
	return m.update(v)
}

func (m *machine) setItem() error {
	v, err := m.popN(2)
	if err != nil {
		return err
	}
	return m.update(v)
}

func (m *machine) setItems() error {
	v, err := m.popMark()
	if err != nil {
		return err
	}
	return m.update(v)
}

// update sets keys and values, in turn, in what is on top of the stack.
func (m *machine) update(v []value) error {
	top, err := m.top()
	if err != nil {
		return err
	}
	if len(v)%2 != 0 {
		return malformed("pickle sets a key without a value before byte %d", m.s.pos)
	}
	switch c := top.(type) {
	case *dict:
		c.items = append(c.items, v...)
	case *object:
		c.pairs = append(c.pairs, v...)
	default:
		return malformed("pickle sets an item of a %T before byte %d", top, m.s.pos)
	}
	return nil
}

func (m *machine) global() error {
	module, err := m.s.line()
	if err != nil {
		return err
	}
	name, err := m.s.line()
	if err != nil {
		return err
	}
	return m.push(global(module + "." + name))
}

func (m *machine) stackGlobal() error {
	v, err := m.popN(2)
	if err != nil {
		return err
	}
	module, ok := v[0].(string)
	name, ok2 := v[1].(string)
	if !ok || !ok2 {
		return malformed("name of a %T and a %T before byte %d", v[0], v[1], m.s.pos)
	}
	return m.push(global(module + "." + name))
}

// extension is a name by its number in a registry that is not in the file.
func extension(n uint64) func(*machine) error {
	return func(m *machine) error {
		if err := m.s.skip(n); err != nil {
			return err
		}
		return m.push(global(""))
	}
}

func (m *machine) reduce() error {
	v, err := m.popN(2)
	if err != nil {
		return err
	}
	return m.push(m.call(v[0], v[1]))
}

func (m *machine) newObjEx() error {
	v, err := m.popN(3)
	if err != nil {
		return err
	}
	return m.push(&object{args: &list{items: v, tuple: true}})
}

func (m *machine) inst() error {
	if err := m.global(); err != nil {
		return err
	}
	fn, err := m.pop()
	if err != nil {
		return err
	}
	args, err := m.popMark()
	if err != nil {
		return err
	}
	return m.push(m.call(fn, &list{items: args, tuple: true}))
}

func (m *machine) obj() error {
	v, err := m.popMark()
	if err != nil {
		return err
	}
	if len(v) == 0 {
		return m.underflow()
	}
	return m.push(m.call(v[0], &list{items: v[1:], tuple: true}))
}

// build gives the top of the stack its attributes.
func (m *machine) build() error {
	v, err := m.popN(2)
	if err != nil {
		return err
	}
	switch c := v[0].(type) {
	case *dict:
		c.states = append(c.states, v[1])
	case *object:
		c.states = append(c.states, v[1])
	default:
		v[0] = &object{args: v[0], states: v[1:]}
	}
	return m.push(v[0])
}

func (m *machine) persID() error {
	id, err := m.pop()
	if err != nil {
		return err
	}
	return m.push(m.persistent(id))
}
