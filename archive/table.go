package archive

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"strings"

	"excpfs/tensor"
)

// tableWriter spells an index as columns.
type tableWriter struct {
	columns
	inline []byte // where blocks with a negative offset are
	end    int64  // of the tensor before
	next   int64  // end of the block before, in the block area
}

// tableReader is the inverse of tableWriter.
type tableReader struct {
	columns [numColumns]cursor
	names   string // the whole column: names are parts of it
	end     int64
	next    int64
	inline  int64
}

func encodeIndex(version uint16, ix *Index, inline []byte) (packed, raw []byte) {
	w := tableWriter{inline: inline, next: headerSize}
	b := appendString(nil, ix.Format)
	b = append(b, ix.Hash[16:]...)
	w.columns[colFile] = binary.AppendUvarint(b, uint64(len(ix.Tensors)))
	for i := range ix.Tensors {
		w.tensor(i, &ix.Tensors[i])
	}
	verbatim, sums := packVerbatim(version, ix)
	w.columns[colVerbatim] = verbatim
	w.columns[colCRCs] = append(w.columns[colCRCs], sums...)
	return w.join()
}

// decodeIndex returns the index and the bytes of its inline blocks. limit bounds the number of tensors.
func decodeIndex(version uint16, s Summary, packed, raw []byte, limit uint64) (*Index, []byte, error) {
	cs, err := splitColumns(packed, raw)
	if err != nil {
		return nil, nil, err
	}
	r := tableReader{next: headerSize, names: string(cs[colNames])}
	for i := range cs {
		r.columns[i].p = cs[i]
	}
	ix := &Index{Summary: s}
	r.columns[colVerbatim].p, r.columns[colInline].p = nil, nil
	f := &r.columns[colFile]
	ix.Format = string(f.str())
	copy(ix.Hash[:], s.ID[:])
	copy(ix.Hash[16:], f.take(16))
	ix.Tensors = make([]Tensor, f.number("number of tensors", min(limit, tensorsMax)))
	if err := r.fault(); err != nil {
		return nil, nil, err
	}
	for i := range ix.Tensors {
		r.tensor(i, &ix.Tensors[i], ix)
		if err := r.fault(); err != nil {
			return nil, nil, fmt.Errorf("tensor %d (%q): %w", i, ix.Tensors[i].Name, err)
		}
	}
	if err := unpackVerbatim(version, ix, cs[colVerbatim], &r.columns[colCRCs]); err != nil {
		return nil, nil, fmt.Errorf("verbatim column: %w", err)
	}
	if r.inline != int64(len(cs[colInline])) {
		return nil, nil, fmt.Errorf("inline column of %d bytes, used %d", len(cs[colInline]), r.inline)
	}
	return ix, cs[colInline], r.finish()
}

// fault is the first fault of any column.
func (r *tableReader) fault() error {
	for i := range r.columns {
		if err := r.columns[i].err; err != nil {
			return fmt.Errorf("%s column: %w", columnNames[i], err)
		}
	}
	return nil
}

func (r *tableReader) finish() error {
	for i := range r.columns {
		r.columns[i].end()
	}
	return r.fault()
}

func (w *tableWriter) tensor(i int, t *Tensor) {
	w.columns[colNames] = appendString(w.columns[colNames], t.Name)
	w.shape(&t.Info)
	w.coding(i, t)
	w.blocks(t)
	if t.Length > hashMin {
		w.columns[colHashes] = append(w.columns[colHashes], t.Hash[:]...)
	}
	for _, f := range []float64{t.Mean, t.Error} {
		if float32(f) != 0 {
			w.columns[colFigures] = appendFloat(w.columns[colFigures], f)
		}
	}
}

func (r *tableReader) tensor(i int, t *Tensor, ix *Index) {
	c := &r.columns[colNames]
	n := c.uvarint()
	at := len(r.names) - len(c.p)
	if c.take(n); c.err == nil {
		t.Name = r.names[at : at+int(n)]
	}
	r.shape(&t.Info, ix.Size)
	flags := r.coding(i, t, ix)
	r.blocks(t, flags)
	if t.Length > hashMin {
		t.Hash = r.columns[colHashes].id()
	}
	t.Mean = r.figure(flags & flagMean)
	t.Error = r.figure(flags & flagError)
}

func (r *tableReader) figure(flag uint8) float64 {
	if flag == 0 {
		return 0
	}
	c := &r.columns[colFigures]
	f := c.float()
	if f == 0 {
		c.fail(errors.New("a figure is 0"))
	}
	return f
}

func (w *tableWriter) shape(t *tensor.Info) {
	b := append(w.columns[colShapes], byte(t.DType))
	b = binary.AppendUvarint(b, uint64(len(t.Shape)))
	for _, d := range t.Shape {
		b = binary.AppendUvarint(b, uint64(d))
	}
	w.columns[colShapes] = binary.AppendUvarint(b, uint64(t.Offset-w.end))
	w.end = t.Offset + t.Length
}

func (r *tableReader) shape(t *tensor.Info, size int64) {
	c := &r.columns[colShapes]
	t.DType = tensor.DType(c.u8())
	if n := c.number("number of dimensions", uint64(len(c.p))); n > 0 {
		t.Shape = make([]int64, n)
	}
	for i := range t.Shape {
		t.Shape[i] = int64(c.number("dimension", math.MaxInt64))
	}
	t.Offset = r.end + int64(c.number("distance", uint64(size-r.end)))
	n, ok := tensor.Product(t.Shape)
	if !ok || n > math.MaxInt64/64 {
		c.fail(fmt.Errorf("shape %v is too large", t.Shape))
		return
	}
	t.Length = (n*int64(t.DType.Bits()) + 7) / 8
	if r.end = t.Offset + t.Length; t.Length > size-t.Offset {
		c.fail(fmt.Errorf("tensor of %d bytes at %d leaves the file of %d", t.Length, t.Offset, size))
		r.end = size
	}
}

func (w *tableWriter) coding(i int, t *Tensor) {
	var flags uint8
	var b []byte
	if t.Base >= 0 {
		flags |= flagBase
		b = binary.AppendUvarint(b, uint64(t.Base))
	}
	if t.Weights >= 0 {
		flags |= flagWeights
		b = binary.AppendUvarint(b, uint64(t.Weights))
	}
	if t.Support >= 0 {
		flags |= flagSupport
		b = binary.AppendVarint(b, int64(t.Support-i))
	}
	if at := strings.Index(t.Name, t.Mask); t.Mask != "" && at >= 0 {
		flags |= flagMaskPart
		b = binary.AppendUvarint(b, uint64(at))
		b = binary.AppendUvarint(b, uint64(len(t.Name)-at-len(t.Mask)))
	} else if t.Mask != "" {
		flags |= flagMaskString
		b = appendString(b, t.Mask)
	}
	if t.Model.Length > 0 {
		flags |= flagModel
	}
	if float32(t.Mean) != 0 {
		flags |= flagMean
	}
	if float32(t.Error) != 0 {
		flags |= flagError
	}
	w.columns[colCoding] = append(append(w.columns[colCoding], t.Method, flags), b...)
}

func (r *tableReader) coding(i int, t *Tensor, ix *Index) (flags uint8) {
	c := &r.columns[colCoding]
	t.Method, flags = c.u8(), c.u8()
	t.Base, t.Weights, t.Support = -1, -1, -1
	if flags&flagBase != 0 {
		t.Base = int(c.number("base", uint64(len(ix.Deps))))
	}
	if flags&flagWeights != 0 {
		t.Weights = int(c.number("weights", uint64(len(ix.Deps))))
	}
	if flags&flagSupport != 0 {
		d := c.varint()
		if d == 0 || d < int64(-i) || d >= int64(len(ix.Tensors)-i) {
			c.fail(fmt.Errorf("support of tensor %+d", d))
		}
		t.Support = i + int(d)
	}
	t.Mask = mask(c, t.Name, flags)
	return flags
}

// mask reads the name of the masking weight, which often is a part of the own name.
func mask(c *cursor, name string, flags uint8) (m string) {
	switch flags & (flagMaskPart | flagMaskString) {
	case 0:
		return ""
	case flagMaskPart:
		front := c.number("mask", uint64(len(name)))
		back := c.number("mask", uint64(len(name))-front)
		m = name[front : uint64(len(name))-back]
		if m == "" || strings.Index(name, m) != int(front) {
			c.fail(errors.New("mask is not the first occurrence"))
		}
	case flagMaskString:
		if m = string(c.str()); strings.Contains(name, m) {
			c.fail(errors.New("mask is part of the name"))
		}
	default:
		c.fail(errors.New("two masks"))
	}
	return m
}

func (w *tableWriter) blocks(t *Tensor) {
	if t.Model.Length > 0 {
		w.block(t.Model)
	}
	for _, s := range [][]Block{t.Chunks, t.Supports} {
		w.columns[colBlocks] = binary.AppendUvarint(w.columns[colBlocks], uint64(len(s)))
		for _, b := range s {
			w.block(b)
		}
	}
}

func (r *tableReader) blocks(t *Tensor, flags uint8) {
	c := &r.columns[colBlocks]
	if flags&flagModel != 0 {
		if t.Model = r.block(); t.Model.Length == 0 {
			c.fail(errors.New("model of no bytes"))
		}
	}
	for _, s := range []*[]Block{&t.Chunks, &t.Supports} {
		n := c.number("number of blocks", min(uint64(len(c.p)), uint64(t.Length)+1))
		if n > 0 {
			*s = make([]Block, n)
		}
		for i := range *s {
			(*s)[i] = r.block()
		}
	}
}

func (w *tableWriter) block(b Block) {
	c := &w.columns[colBlocks]
	if b.Offset < 0 || b.Length == 0 {
		*c = binary.AppendUvarint(*c, uint64(b.Length)<<1|1)
		w.columns[colInline] = append(w.columns[colInline], inlined(w.inline, b)...)
		return
	}
	*c = binary.AppendUvarint(*c, uint64(b.Length)<<1)
	*c = binary.AppendVarint(*c, b.Offset-w.next)
	w.columns[colCRCs] = le.AppendUint32(w.columns[colCRCs], b.CRC)
	w.next = b.Offset + int64(b.Length)
}

func (r *tableReader) block() (b Block) {
	c := &r.columns[colBlocks]
	n := c.number("block length", math.MaxUint32<<1|1)
	b.Length = uint32(n >> 1)
	if n&1 != 0 {
		// The offset is minus one, minus the place: every place is negative.
		b.Offset = ^r.inline
		r.inline += int64(b.Length)
		return b
	}
	if b.Length == 0 {
		c.fail(errors.New("block of no bytes has a place"))
	}
	if b.Offset = r.next + c.varint(); b.Offset < headerSize {
		c.fail(fmt.Errorf("block at %d", b.Offset))
	}
	b.CRC = r.columns[colCRCs].u32()
	r.next = b.Offset + int64(b.Length)
	return b
}

// inlined is the contents of a block inside the index; nil when it leaves p.
func inlined(p []byte, b Block) []byte {
	at := uint64(^b.Offset)
	if b.Offset >= 0 || at > uint64(len(p)) || uint64(b.Length) > uint64(len(p))-at {
		return nil
	}
	return p[at : at+uint64(b.Length) : at+uint64(b.Length)]
}
