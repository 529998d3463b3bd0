package archive

// predict is what field i of a part most likely is. The texts of the part and
// the fields before are known.
func (c *coder) predict(kind uint8, i int, t *part) uint64 {
	switch kind {
	case segLocal:
		return c.predictLocal(i, t)
	case segDescriptor, segDescriptor64:
		return c.predictDescriptor(kind, i)
	case segCentral:
		return c.predictCentral(i)
	}
	return c.predictEnd(kind, i)
}

func (c *coder) predictLocal(i int, t *part) uint64 {
	switch {
	case i < commonFields:
		return c.local.num[i]
	case i == localSize:
		return t.num[localPacked]
	case i == localSum || t.num[localFlags]&flagDescriptor != 0:
		return 0
	}
	x := c.g.tensor(c.at + int64(localLength+len(t.text[0])+len(t.text[1])))
	if x == nil {
		return 0
	}
	return min(uint64(x.Length), max32)
}

func (c *coder) predictDescriptor(kind uint8, i int) uint64 {
	var r record
	if n := len(c.zip.records); n > 0 {
		r = c.zip.records[n-1]
	}
	switch {
	case i == 0:
		return r.sum
	case kind == segDescriptor:
		return r.length & max32
	}
	return r.length
}

func (c *coder) predictCentral(i int) uint64 {
	r := &c.record
	switch i {
	case centralMade, centralDisk, centralInternal, centralExternal:
		return c.central.num[i]
	case centralSum:
		return r.sum
	case centralPacked, centralSize:
		return min(r.length, max32)
	case centralOffset:
		return min(uint64(r.offset), max32)
	}
	return c.listed.num[i-1]
}

// predictEnd is for the records at the end: PyTorch's numbers, and what was counted.
func (c *coder) predictEnd(kind uint8, i int) uint64 {
	z := &c.zip
	listed, length, offset := uint64(z.listed), uint64(z.dir[1]-z.dir[0]), uint64(z.dir[0])
	switch kind {
	case segEnd64:
		return [...]uint64{44, 0x31e, 45, 0, 0, listed, listed, length, offset}[i]
	case segLocator:
		return [...]uint64{0, uint64(z.end64), 1}[i]
	}
	return [...]uint64{0, 0, min(listed, max16), min(listed, max16), min(length, max32), min(offset, max32), 0}[i]
}
