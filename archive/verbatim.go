package archive

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
)

// Forms of the verbatim column.
const (
	verbatimPlain      = iota // the bytes
	verbatimHeader            // uvarint length of front, front, back; headerText between them
	verbatimStructured        // streams, from version 2 on
)

// headerText is what the safetensors library writes into a header for these
// tensors, from the first name to the last brace. A file of that library has
// it among its verbatim bytes, where it need not be stored.
func headerText(ts []Tensor) (b []byte) {
	for i := range ts {
		t := &ts[i]
		if i > 0 {
			b = append(b, ',')
		}
		b = append(append(append(b, '"'), t.Name...), `":{"dtype":"`...)
		b = append(append(b, t.DType.String()...), `","shape":[`...)
		for j, d := range t.Shape {
			if j > 0 {
				b = append(b, ',')
			}
			b = strconv.AppendInt(b, d, 10)
		}
		begin := t.Offset - ts[0].Offset
		b = strconv.AppendInt(append(b, `],"data_offsets":[`...), begin, 10)
		b = strconv.AppendInt(append(b, ','), begin+t.Length, 10)
		b = append(b, `]}`...)
	}
	return b
}

// packVerbatim is the verbatim column, and the checksums that it takes.
func packVerbatim(version uint16, ix *Index) (column, sums []byte) {
	plain := packText(ix.Verbatim, ix.Tensors)
	if version < versionStructured {
		return plain, nil
	}
	g := newGaps(ix.Tensors, ix.Size)
	p, sums := packStructured(ix.Verbatim, g)
	if p == nil || 1+len(p)+len(sums) >= len(plain) {
		return plain, nil
	}
	if v, rest, err := unpackStructured(p, sums, g); err != nil || len(rest) > 0 || !bytes.Equal(v, ix.Verbatim) {
		return plain, nil
	}
	return append([]byte{verbatimStructured}, p...), sums
}

// unpackVerbatim is the inverse of packVerbatim; the tensors are known. sums may hold more than it takes.
func unpackVerbatim(version uint16, ix *Index, p []byte, sums *cursor) (err error) {
	if version >= versionStructured && len(p) > 0 && p[0] == verbatimStructured {
		ix.Verbatim, sums.p, err = unpackStructured(p[1:], sums.p, newGaps(ix.Tensors, ix.Size))
	} else {
		ix.Verbatim, err = unpackText(p, ix.Tensors)
	}
	return err
}

// packText is in a form of version 1.
func packText(v []byte, ts []Tensor) []byte {
	text := headerText(ts)
	at := bytes.Index(v, text)
	if len(text) == 0 || at < 0 {
		return append([]byte{verbatimPlain}, v...)
	}
	p := binary.AppendUvarint([]byte{verbatimHeader}, uint64(at))
	p = append(p, v[:at]...)
	return append(p, v[at+len(text):]...)
}

// unpackText is the inverse of packText.
func unpackText(p []byte, ts []Tensor) ([]byte, error) {
	c := cursor{p: p}
	text := headerText(ts)
	var v []byte
	at := -1
	switch form := c.u8(); form {
	case verbatimPlain:
		v = c.p
	case verbatimHeader:
		front := c.str()
		at = len(front)
		v = bytes.Join([][]byte{front, text, c.p}, nil)
	default:
		c.fail(fmt.Errorf("form %d", form))
	}
	if c.err == nil && len(text) > 0 && bytes.Index(v, text) != at {
		c.fail(errors.New("not in its shortest form"))
	}
	if c.err == nil && len(text) == 0 && at >= 0 {
		c.fail(errors.New("header of no tensors"))
	}
	return v, c.err
}
