package archive

import (
	"fmt"
	"io"
)

// dumpIndex prints the columns. Offsets count from the first unpacked byte, in
// the raw columns from the first of theirs.
func dumpIndex(w io.Writer, ix *Index, unpacked, raw []byte) {
	d := newDumper(w, unpacked, 0)
	for _, name := range columnNames {
		d.note("length of %s: %d", name, d.uvarint())
	}
	cs, _ := splitColumns(unpacked, raw)
	at := d.at
	for i, c := range cs {
		if i == numPacked {
			at = 0
		}
		fmt.Fprintf(w, "\ncolumn %d, %s: %d bytes\n", i, columnNames[i], len(c))
		d := newDumper(w, c, at)
		dumpColumn(d, i, ix)
		at += int64(len(c))
	}
}

func dumpColumn(d *dumper, i int, ix *Index) {
	switch i {
	case colFile:
		d.note("format %q", d.str())
		d.id()
		d.note("second half of the hash")
		d.note("%d tensors", d.uvarint())
	case colVerbatim:
		form := d.u8()
		d.note("form %d", form)
		if form == verbatimStructured {
			dumpStreams(d)
			return
		}
		if form == verbatimHeader {
			d.note("front %q", d.str())
		}
		d.note("%q", d.take(uint64(len(d.p))))
	case colNames:
		for range ix.Tensors {
			d.note("%s", d.str())
		}
	case colCRCs:
		for len(d.p) > 0 {
			d.note("CRC %08x", d.u32())
		}
	default:
		for j := range ix.Tensors {
			tensorDumps[i](d, &ix.Tensors[j])
		}
	}
}

// tensorDumps print what some columns have of one tensor.
var tensorDumps = map[int]func(d *dumper, t *Tensor){
	colShapes:  dumpShape,
	colCoding:  dumpCoding,
	colBlocks:  dumpBlockColumn,
	colInline:  dumpInline,
	colHashes:  dumpHash,
	colFigures: dumpFigures,
}

func dumpShape(d *dumper, t *Tensor) {
	d.u8()
	for range d.uvarint() {
		d.uvarint()
	}
	d.note("%s: %s %v, %d bytes after the one before", t.Name, t.DType, t.Shape, d.uvarint())
}

func dumpCoding(d *dumper, t *Tensor) {
	d.note("%s: method %d", t.Name, d.u8())
	flags := d.u8()
	d.note("flags %08b", flags)
	if flags&flagBase != 0 {
		d.note("base: dependency %d", d.uvarint())
	}
	if flags&flagWeights != 0 {
		d.note("weights: dependency %d", d.uvarint())
	}
	if flags&flagSupport != 0 {
		d.note("support of the tensor at %+d", d.varint())
	}
	if flags&flagMaskPart != 0 {
		d.uvarint()
		d.uvarint()
		d.note("mask %q, part of the name", t.Mask)
	}
	if flags&flagMaskString != 0 {
		d.note("mask %q", d.str())
	}
}

func dumpBlockColumn(d *dumper, t *Tensor) {
	block := func(b Block) {
		if n := d.uvarint(); n&1 != 0 {
			d.note("  %d bytes, inline", b.Length)
			return
		}
		d.varint()
		d.note("  %d bytes at %06x", b.Length, b.Offset)
	}
	if t.Model.Length > 0 {
		block(t.Model)
	}
	d.note("%s: %d chunks", t.Name, d.uvarint())
	for _, b := range t.Chunks {
		block(b)
	}
	d.note("%s: %d supports", t.Name, d.uvarint())
	for _, b := range t.Supports {
		block(b)
	}
}

func dumpInline(d *dumper, t *Tensor) {
	n := 0
	for b := range t.blocks() {
		if b.Offset < 0 && b.Length > 0 {
			d.take(uint64(b.Length))
			d.note("%s, %s", t.Name, t.blockName(n))
		}
		n++
	}
}

func dumpHash(d *dumper, t *Tensor) {
	if t.Length > hashMin {
		d.id()
		d.note("%s", t.Name)
	}
}

func dumpFigures(d *dumper, t *Tensor) {
	if t.Mean != 0 {
		d.note("%s: mean %v", t.Name, d.float())
	}
	if t.Error != 0 {
		d.note("%s: error %v", t.Name, d.float())
	}
}
