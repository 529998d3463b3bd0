package archive

import (
	"bufio"
	"fmt"
	"io"
	"strings"

	"excpfs/tensor"
)

// Dump writes an archive as hexadecimal bytes with a comment for each field, in
// the order of docs/FORMAT.md section 2. It is for people; the archive must be sound.
func Dump(w io.Writer, r io.ReaderAt, size int64) error {
	a, err := Open(r, size, "archive")
	if err != nil {
		return err
	}
	f := file{r, size, "archive"}
	_, _, s, err := f.tail()
	if err != nil {
		return err
	}
	p := make([]byte, s.index()+int64(s.summary)+trailerSize)
	if err := f.read(p, a.end); err != nil {
		return err
	}
	head := make([]byte, headerSize)
	if err := f.read(head, 0); err != nil {
		return err
	}
	unpacked, err := unpack(p[:s.packed], s.unpacked)
	if err != nil {
		return err
	}
	out := bufio.NewWriter(w)
	dumpHeader(newDumper(out, head, 0))
	if err := dumpBlocks(out, a); err != nil {
		return err
	}
	fmt.Fprintf(out, "\nindex: %d bytes of packed columns, which follow unpacked, and %d of raw ones\n", s.packed, s.raw)
	dumpIndex(out, a.index, unpacked, p[s.packed:s.index()])
	at := s.index()
	fmt.Fprintf(out, "\nsummary\n")
	dumpSummary(newDumper(out, p[at:at+int64(s.summary)], a.end+at), &a.index.Summary)
	at += int64(s.summary)
	fmt.Fprintf(out, "\ntrailer\n")
	dumpTrailer(newDumper(out, p[at:], a.end+at))
	return out.Flush()
}

// dumper prints what its cursor has passed.
type dumper struct {
	cursor
	w    io.Writer
	rest []byte // not printed yet
	at   int64  // where rest begins
}

func newDumper(w io.Writer, p []byte, at int64) *dumper {
	return &dumper{cursor: cursor{p: p}, w: w, rest: p, at: at}
}

// note prints the bytes since the last note, and what they are.
func (d *dumper) note(format string, a ...any) {
	n := len(d.rest) - len(d.p)
	dumpLine(d.w, d.at, d.rest[:n], fmt.Sprintf(format, a...))
	d.rest, d.at = d.p, d.at+int64(n)
}

// dumpLine prints the bytes that fit into a line and says so if there are more.
func dumpLine(w io.Writer, at int64, p []byte, comment string) {
	const most = 8
	hex := fmt.Sprintf("% x", p[:min(len(p), most)])
	if len(p) > most {
		hex = fmt.Sprintf("% x ..", p[:most-1])
	}
	fmt.Fprintf(w, "%06x  %-23s  %s\n", at, hex, comment)
}

func dumpHeader(d *dumper) {
	fmt.Fprintf(d.w, "header\n")
	d.take(8)
	d.note("magic")
	d.note("version %d", le.Uint16(d.take(2)))
	d.note("flags %#x", le.Uint16(d.take(2)))
	d.note("CRC %08x", d.u32())
}

// dumpBlocks prints the blocks of the block area in the order of the index.
func dumpBlocks(w io.Writer, a *Reader) error {
	fmt.Fprintf(w, "\nblocks: %d bytes\n", a.end-headerSize)
	for i := range a.index.Tensors {
		t := &a.index.Tensors[i]
		n := 0
		for b := range t.blocks() {
			if b.Offset >= 0 {
				p, err := a.Block(*b, t.Name, nil)
				if err != nil {
					return err
				}
				dumpLine(w, b.Offset, p, fmt.Sprintf("%d bytes, CRC %08x: %s, %s", b.Length, b.CRC, t.Name, t.blockName(n)))
			}
			n++
		}
	}
	return nil
}

// blockName names the n-th of blocks.
func (t *Tensor) blockName(n int) string {
	if t.Model.Length > 0 {
		if n == 0 {
			return "model"
		}
		n--
	}
	if n < len(t.Chunks) {
		return fmt.Sprintf("chunk %d", n)
	}
	return fmt.Sprintf("support %d", n-len(t.Chunks))
}

func dumpSummary(d *dumper, s *Summary) {
	d.id()
	d.note("id")
	d.id()
	d.note("schema")
	d.note("decoded size %d", d.uvarint())
	d.note("depth %d", d.u8())
	d.note("profile %q", d.str())
	d.u64()
	d.note("alpha %v", s.Profile.Alpha)
	d.u64()
	d.note("beta %v", s.Profile.Beta)
	d.note("bits %d", d.u8())
	for r := range s.Error {
		d.note("error of %v %v", tensor.Role(r), d.float())
	}
	d.note("%d dependencies", d.uvarint())
	for range s.Deps {
		d.note("role %d", d.u8())
		d.id()
		d.note("id")
		d.note("hint %q", d.str())
	}
}

func dumpTrailer(d *dumper) {
	for _, what := range strings.Split("plain file: host inode,plain file: size,plain file: mtime,plain file: ctime,folder mtime,"+
		"inode,host inode,birth time,size of the archive", ",") {
		d.note("%s %d", what, int64(d.u64()))
	}
	for _, what := range strings.Split("packed columns: %d bytes,packed columns: %d bytes unpacked,raw columns: %d bytes,"+
		"index CRC %08x,summary: %d bytes,summary CRC %08x", ",") {
		d.note(what, d.u32())
	}
	d.note("version %d", le.Uint16(d.take(2)))
	d.note("flags %#x", le.Uint16(d.take(2)))
	d.note("CRC %08x", d.u32())
	d.take(4)
	d.note("magic")
}
