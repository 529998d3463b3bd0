package archive

import (
	"bytes"
	"strconv"
)

// part codes a part of a zip: a mask that tells which of its texts and fields
// are not as predicted, and these.
func (c *coder) part(s segment) {
	var t part
	if c.packing {
		t.parse(s.kind, c.v[s.from:s.to])
	}
	c.before(s.kind)
	f := &partFormats[s.kind]
	var mask uint64
	if c.packing {
		mask = c.mask(f, s.kind, &t)
	}
	c.number(strMasks, &mask)
	if mask&^f.mask != 0 {
		c.fail("mask %b of a %s", mask, kindNames[s.kind])
	}
	for i := range f.texts {
		if mask>>i&1 == 0 {
			t.text[i] = c.predictText(s.kind, i, &t)
		} else {
			c.text(strNames, &t.text[i])
		}
		if len(t.text[i]) > max16 {
			c.fail("text of %d bytes", len(t.text[i]))
			return
		}
	}
	mask >>= f.texts
	for i, w := range f.fields {
		switch {
		case w&fieldText != 0:
		case mask>>i&1 == 0:
			t.num[i] = c.predict(s.kind, i, &t)
		case w&fieldSum != 0:
			v := uint32(t.num[i])
			c.sum(&v)
			t.num[i] = uint64(v)
		default:
			c.number(strValues, &t.num[i])
		}
		t.num[i] = w.cut(t.num[i])
	}
	at := c.at
	if c.packing {
		c.at = s.to
	} else {
		c.buf = t.append(c.buf[:0], s.kind)
		c.put(c.buf)
	}
	c.after(s.kind, at, &t)
}

// mask has a bit for each text and each field that is not as predicted.
func (c *coder) mask(f *partFormat, kind uint8, t *part) (mask uint64) {
	for i := range f.texts {
		if !bytes.Equal(t.text[i], c.predictText(kind, i, t)) {
			mask |= 1 << i
		}
	}
	for i, w := range f.fields {
		if w&fieldText == 0 && t.num[i] != w.cut(c.predict(kind, i, t)) {
			mask |= 1 << (f.texts + i)
		}
	}
	return mask
}

// before notes that a part begins.
func (c *coder) before(kind uint8) {
	z := &c.zip
	at := c.g.begin(c.at)
	if z.open {
		r := &z.records[len(z.records)-1]
		r.length, z.open = uint64(at-r.payload), false
	}
	switch kind {
	case segLocal:
		if len(z.records) == 0 {
			z.start = at
		}
	case segCentral:
		if z.listed == 0 {
			z.dir[0] = at - z.start
		}
		c.record, c.listed = record{}, part{}
		if z.listed < len(z.records) {
			c.record = z.records[z.listed]
			c.listed.parse(segLocal, c.v[c.record.at:])
		}
	case segEnd64:
		z.end64 = at - z.start
	}
}

// after notes a part that is known; at is where in v it begins.
func (c *coder) after(kind uint8, at int64, t *part) {
	z := &c.zip
	switch kind {
	case segLocal:
		z.records = append(z.records, record{at, c.g.begin(at) - z.start, c.g.end(c.at), 0, t.num[localSum]})
		z.open, c.local, c.name = true, *t, t.text[0]
	case segDescriptor, segDescriptor64:
		if n := len(z.records); n > 0 {
			z.records[n-1].sum = t.num[0]
		}
	case segCentral:
		z.listed++
		z.dir[1] = c.g.end(c.at) - z.start
		c.central = *t
	case segEnd:
		c.finishZip()
	}
}

func (c *coder) predictText(kind uint8, i int, t *part) []byte {
	switch {
	case kind == segLocal && i == 0:
		return c.nextName()
	case kind == segLocal:
		return c.padding(t.text[0])
	case kind == segCentral && i == 0:
		return c.listed.text[0]
	case kind == segCentral && i == 1:
		r := &c.record
		return zip64(r.length, r.length, uint64(r.offset))
	}
	return nil
}

// zip64 is the extra field of those numbers that are too large for a header.
func zip64(numbers ...uint64) (b []byte) {
	for _, v := range numbers {
		if v >= max32 {
			b = le.AppendUint64(b, v)
		}
	}
	if len(b) == 0 {
		return nil
	}
	return append([]byte{1, 0, byte(len(b)), 0}, b...)
}

// padding is the extra field of a local header: up to where its payload is aligned.
func (c *coder) padding(name []byte) []byte {
	offset := c.g.begin(c.at) - c.zip.start
	b := zip64(uint64(offset))
	if c.align == 0 {
		return b
	}
	const head = 4 // FB and a length
	n := c.align - 1 - (offset+int64(localLength+len(name)+len(b)+head)-1)%c.align
	b = append(le.AppendUint16(append(b, "FB"...), uint16(n)), bytes.Repeat([]byte{'Z'}, int(n))...)
	return b
}

// nextName is the name of the local header before with the next number at its end.
func (c *coder) nextName() []byte {
	front, v, ok := numbered(c.name)
	if !ok {
		return nil
	}
	return strconv.AppendInt(front, nextKey(v, int64(c.keys)), 10)
}

// numbered cuts the number off the end of a name.
func numbered(name []byte) (front []byte, v int64, ok bool) {
	n := len(name)
	for n > 0 && name[n-1] >= '0' && name[n-1] <= '9' {
		n--
	}
	v, ok = decimal(name[n:])
	return name[:n:n], v, ok
}

// nextKey is the next number: of all, or of the first n in the order of their texts.
func nextKey(v, n int64) int64 {
	switch {
	case n == 0:
		return v + 1
	case v > 0 && v <= (n-1)/10:
		return v * 10
	}
	for v > 0 && (v%10 == 9 || v+1 >= n) {
		v /= 10
	}
	return v + 1
}
