package encode

import (
	"encoding/binary"
	"hash/crc32"
	"slices"
	"sort"
)

// A checksum of a payload that decodes to other values would be wrong, and readers other
// than PyTorch's own refuse such files. So it becomes that of what the payload decodes to,
// where it was right before.

// sumAhead reports whether a checksum of tensor i stands before its payload. The file is
// hashed from front to back, so such a tensor keeps its values.
func (e *encoder) sumAhead(i int) bool {
	return slices.ContainsFunc(e.sums[i], func(at int64) bool { return at < e.tensors[i].Offset })
}

// exactOnly: tensor i keeps every bit, whatever it is.
func (e *encoder) exactOnly(i int) bool { return e.opaque[i] || e.sumAhead(i) }

// checksum of a tensor, before and after.
type checksum struct{ was, is uint32 }

func (c *checksum) add(orig, dec []byte) {
	c.was = crc32.Update(c.was, crc32.IEEETable, orig)
	c.is = crc32.Update(c.is, crc32.IEEETable, dec)
}

// patch is a checksum to be written into verbatim bytes.
type patch struct {
	checksum
	at int64 // in the file
}

// amend notes the places where the checksum of tensor i stands, by the tensor that follows.
func (o *output) amend(i int, c checksum) {
	if c.was == c.is {
		return
	}
	tensors := o.e.tensors
	for _, at := range o.e.sums[i] {
		next := sort.Search(len(tensors), func(j int) bool { return tensors[j].Offset > at })
		o.patches[next] = append(o.patches[next], patch{c, at})
	}
}

// patched writes the checksums that stand in p, the bytes from at up to tensor next.
func (o *output) patched(p []byte, at int64, next int) {
	for _, c := range o.patches[next] {
		if field := p[c.at-at:][:4]; binary.LittleEndian.Uint32(field) == c.was {
			binary.LittleEndian.PutUint32(field, c.is)
		}
	}
	delete(o.patches, next)
}
