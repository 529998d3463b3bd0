package archive

import "bytes"

// coder packs or unpacks structured verbatim bytes. When packing v is read, else filled.
type coder struct {
	*streams
	g       *gaps
	v       []byte
	at      int64 // bytes of v that are done
	zip     zipState
	pickles []segment // of the zip that is not complete
	pickled uint64    // length of the pickle before
	align   int64     // of the records' payloads, by a field FB; 0: there is none
	keys    uint64    // how many storages stand in the order of their numbers as texts; 0: in that of numbers
	name    []byte    // of the local header before
	local   part      // header before
	central part
	record  record // that the central header is of
	listed  part   // ... and its local header
	buf     []byte // of the part that is unpacked
}

// zipState is what is known of the zip that the next segment belongs to.
type zipState struct {
	start   int64 // of its first local header in the file; other places count from it
	records []record
	open    bool     // the last record's length is not known yet
	dir     [2]int64 // the directory
	listed  int      // central headers
	end64   int64
}

type record struct {
	at      int64 // its local header, in v
	offset  int64 // ... in the zip
	payload int64 // in the file
	length  uint64
	sum     uint64
}

// segment codes one, of which only the kind is known when unpacking.
func (c *coder) segment(s segment) {
	switch s.kind {
	case segRaw:
		n := uint64(s.to - s.from)
		c.number(strValues, &n)
		p := c.v[s.from:s.to]
		c.bytes(strRaw, n, &p)
		c.put(p)
	case segPickle:
		c.pickleSlot(s)
	case segCount:
		if t := c.g.tensor(c.at + 8); t != nil {
			c.put(le.AppendUint64(nil, uint64(t.Elems())))
		} else {
			c.fail("count of no tensor")
		}
	default:
		c.part(s)
	}
}

// put appends bytes to v.
func (c *coder) put(p []byte) {
	if int64(len(p)) > int64(len(c.v))-c.at {
		c.fail("more than %d bytes", len(c.v))
		return
	}
	if !c.packing {
		copy(c.v[c.at:], p)
	}
	c.at += int64(len(p))
}

// pickleSlot leaves room for a pickle, which is coded when the records of its zip are known.
func (c *coder) pickleSlot(s segment) {
	n := uint64(s.to - s.from)
	n ^= c.pickled
	c.number(strValues, &n)
	n ^= c.pickled
	if n > uint64(int64(len(c.v))-c.at) || len(c.pickles) == picklesMax {
		c.fail("pickle %d of %d bytes", len(c.pickles), n)
		return
	}
	c.pickled = n
	s = segment{segPickle, c.at, c.at + int64(n)}
	c.pickles = append(c.pickles, s)
	c.at = s.to
}

// finishZip codes the pickles of a zip, or of what follows the last one.
func (c *coder) finishZip() {
	if len(c.pickles) > 0 {
		keys := c.storages()
		for _, s := range c.pickles {
			c.pickle(c.v[s.from:s.to], keys)
		}
	}
	c.pickles, c.zip = c.pickles[:0], zipState{records: c.zip.records[:0]}
}

// storages are the tensors that are records, by the last part of the record's name.
func (c *coder) storages() map[string]*Tensor {
	m := map[string]*Tensor{}
	for _, r := range c.zip.records {
		var t part
		n := t.parse(segLocal, c.v[r.at:])
		if x := c.g.tensor(r.at + int64(n)); x != nil {
			name := t.text[0]
			m[string(name[bytes.LastIndexByte(name, '/')+1:])] = x
		}
	}
	return m
}
