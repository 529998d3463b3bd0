package archive

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
)

// typed reports whether err is one that callers can tell apart.
func typed(err error) bool {
	var d *DamageError
	var v *VersionError
	var u *UnsupportedError
	return errors.As(err, &d) || errors.As(err, &v) || errors.As(err, &u) || errors.Is(err, ErrNotArchive)
}

// readAll opens an archive, reads every block and returns the first fault.
func readAll(p []byte) error {
	r, err := Open(bytes.NewReader(p), int64(len(p)), "x.excp")
	if err != nil {
		return err
	}
	for i := range r.Index().Tensors {
		t := &r.Index().Tensors[i]
		for b := range t.blocks() {
			if _, err := r.Block(*b, t.Name, nil); err != nil {
				return err
			}
		}
	}
	return nil
}

// allocated is what fn allocates in bytes.
func allocated(fn func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	fn()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

const allocMax = 4 << 20 // for an archive of 3 KB; the zstd decoder takes most of it

func TestFlips(t *testing.T) {
	s := newSample()
	must(readAll(s.bytes))
	for i := range s.bytes {
		for _, bit := range []byte{0x01, 0x10, 0x80, 0xff} {
			p := bytes.Clone(s.bytes)
			p[i] ^= bit
			var err error
			if n := allocated(func() { err = readAll(p) }); n > allocMax {
				t.Errorf("byte %d: %d bytes allocated", i, n)
			}
			if !typed(err) {
				t.Errorf("byte %d ^ %#x: %v", i, bit, err)
			}
			if _, _, err := ReadSummary(bytes.NewReader(p), int64(len(p)), "x"); err != nil && !typed(err) {
				t.Errorf("byte %d ^ %#x: summary: %v", i, bit, err)
			}
		}
	}
}

func TestCuts(t *testing.T) {
	s := newSample()
	for n := range s.bytes {
		for _, p := range [][]byte{s.bytes[:n], append(bytes.Clone(s.bytes), s.bytes[:n+1]...)} {
			var err error
			if got := allocated(func() { err = readAll(p) }); got > allocMax {
				t.Errorf("%d bytes: %d bytes allocated", len(p), got)
			}
			if !typed(err) {
				t.Errorf("%d bytes: %v", len(p), err)
			}
		}
	}
	for _, size := range []int64{-1, 0, int64(len(s.bytes)) + 1} {
		if _, err := Open(bytes.NewReader(s.bytes), size, "x"); !typed(err) {
			t.Errorf("size %d: %v", size, err)
		}
	}
}

// Damage in a block concerns its tensor only, and the error says which and where.
func TestBlockDamage(t *testing.T) {
	s := newSample()
	b := s.index.Tensors[2].Chunks[0]
	p := bytes.Clone(s.bytes)
	p[b.Offset+7] ^= 4
	r := open(t, p)
	_, err := r.Block(b, "a.weight", nil)
	var d *DamageError
	if !errors.As(err, &d) || *d != (DamageError{"sample.excp", "a.weight", b.Offset, "block checksum does not match"}) {
		t.Errorf("%v", err)
	}
	if _, err := r.Block(s.index.Tensors[2].Chunks[1], "a.weight", nil); err != nil {
		t.Error(err)
	}
	for _, b := range []Block{{Offset: 3, Length: 1}, {Offset: 16, Length: 1 << 31}, {Offset: 1 << 62, Length: 9}, {Offset: -1, Length: 1 << 31}, {Offset: -1 << 63, Length: 1}} {
		if _, err := r.Block(b, "a.weight", nil); !errors.As(err, &d) || !strings.Contains(d.What, "outside") {
			t.Errorf("%+v: %v", b, err)
		}
	}
}

// A file that was cut after it was opened is damaged, where the cut is.
func TestCutWhileOpen(t *testing.T) {
	s := newSample()
	r := open(t, s.bytes)
	b := s.index.Tensors[2].Chunks[0]
	r.src = bytes.NewReader(s.bytes[:b.Offset+5])
	_, err := r.Block(b, "a.weight", nil)
	d, ok := errors.AsType[*DamageError](err)
	if !ok || *d != (DamageError{"sample.excp", "a.weight", b.Offset + 5, "file ends too early"}) {
		t.Errorf("%v", err)
	}
}

// withVersion changes the versions and makes the checksums right again.
func withVersion(p []byte, header, trailer uint16) []byte {
	p = bytes.Clone(p)
	le.PutUint16(p[8:], header)
	le.PutUint32(p[12:], checksum(p[:12]))
	tr := p[len(p)-trailerSize:]
	le.PutUint16(tr[96:], trailer)
	le.PutUint32(tr[100:], checksum(tr[:100]))
	return p
}

func TestRefusedByName(t *testing.T) {
	s := newSample()
	headerFlag := bytes.Clone(s.bytes)
	headerFlag[10] = 2
	le.PutUint32(headerFlag[12:], checksum(headerFlag[:12]))
	trailerFlag := bytes.Clone(s.bytes)
	tr := trailerFlag[len(trailerFlag)-trailerSize:]
	tr[98] = 1
	le.PutUint32(tr[100:], checksum(tr[:100]))
	role := newParts(t, s)
	role.summary = bytes.Replace(role.summary, append([]byte{1}, s.index.Deps[0].ID[:]...), append([]byte{9}, s.index.Deps[0].ID[:]...), 1)
	for _, c := range []struct {
		name, want string
		file       []byte
	}{
		{"later version", "x.excp: archive format version 3 is newer than this excpfs reads (2); upgrade excpfs", withVersion(s.bytes, 3, 3)},
		{"versions disagree", "version 1 in the header, 2 in the trailer", withVersion(s.bytes, 1, 2)},
		{"version 0", "version 0", withVersion(s.bytes, 0, 0)},
		{"trailer of a later version", "no trailer", withVersion(s.bytes, 1, 3)},
		{"header flag", "x.excp: archive uses header flags 0x0002, which this excpfs does not know", headerFlag},
		{"trailer flag", "x.excp: archive uses trailer flags 0x0001, which this excpfs does not know", trailerFlag},
		{"role", "x.excp: archive uses dependency role 9, which this excpfs does not know", role.join()},
		{"text", "x.excp: not an excpfs archive", []byte(strings.Repeat("text ", 100))},
		{"nothing", "x.excp: not an excpfs archive", nil},
		{"line ends converted", "x.excp: not an excpfs archive", bytes.ReplaceAll(s.bytes, []byte("\r\n"), []byte("\n"))},
	} {
		if err := readAll(c.file); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

type faulty struct{ err error }

func (f faulty) ReadAt([]byte, int64) (int, error) { return 0, f.err }

func (f faulty) Write([]byte) (int, error) { return 0, f.err }

func (f faulty) Close() error { return f.err }

// A fault of the host is not damage.
func TestHostErrors(t *testing.T) {
	fault := errors.New("host fault")
	if _, err := Open(faulty{fault}, 1000, "x"); !errors.Is(err, fault) || typed(err) {
		t.Errorf("Open: %v", err)
	}
	if _, _, err := ReadSummary(faulty{fault}, 1000, "x"); !errors.Is(err, fault) || typed(err) {
		t.Errorf("ReadSummary: %v", err)
	}
	if _, err := NewWriter(faulty{fault}); !errors.Is(err, fault) {
		t.Errorf("NewWriter: %v", err)
	}
	s := newSample()
	r := open(t, s.bytes)
	r.src = faulty{fault}
	if _, err := r.Block(s.index.Tensors[2].Chunks[0], "a.weight", nil); !errors.Is(err, fault) || typed(err) {
		t.Errorf("Block: %v", err)
	}
	if err := r.Close(); err != fault {
		t.Errorf("Close: %v", err)
	}
	if err := open(t, s.bytes).Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
	w := &Writer{w: io.Discard, err: fault}
	if _, err := w.Append(make([]byte, 1000)); err != fault {
		t.Errorf("Append: %v", err)
	}
	if err := w.Finish(s.index, Trailer{}); err != fault {
		t.Errorf("Finish: %v", err)
	}
}

// parts are the pieces of an archive, to be changed and joined under valid checksums.
type parts struct {
	blocks, unpacked, raw, summary []byte
	inline                         int
	trailer                        Trailer
}

func newParts(tb testing.TB, s *sample) *parts {
	r := open(tb, s.bytes)
	p := &parts{blocks: s.bytes[:r.end], summary: appendSummary(nil, &s.index.Summary), trailer: s.trailer, inline: s.index.inlined()}
	p.unpacked, p.raw = encodeIndex(r.version, r.index, r.inline)
	return p
}

func (p *parts) join() []byte {
	packed, err := pack(p.unpacked, min(p.inline, len(p.unpacked)))
	if err != nil {
		return nil
	}
	return p.joinPacked(packed)
}

// unchecked compresses without regard to the limits.
func unchecked(p []byte) []byte {
	e, err := zstd.NewWriter(nil)
	must(err)
	defer e.Close()
	return e.EncodeAll(p, nil)
}

func (p *parts) joinPacked(packed []byte) []byte {
	index := append(packed, p.raw...)
	size := len(p.blocks) + len(index) + len(p.summary) + trailerSize
	return bytes.Join([][]byte{p.blocks, index, p.summary, appendTrailer(nil, p.trailer, sections{version: le.Uint16(p.blocks[8:]), size: int64(size),
		packed: uint32(len(packed)), unpacked: uint32(len(p.unpacked)), raw: uint32(len(p.raw)), indexCRC: checksum(index),
		summary: uint32(len(p.summary)), summaryCRC: checksum(p.summary)})}, nil)
}

func TestPartsJoin(t *testing.T) {
	s := newSample()
	if !bytes.Equal(newParts(t, s).join(), s.bytes) {
		t.Error("parts do not join to the archive")
	}
}

// Faults that checksums do not find: a wrong index under a right checksum.
func TestMalformedIndex(t *testing.T) {
	s := newSample()
	for _, c := range []struct {
		name, want string
		change     func(p *parts)
	}{
		{"packed byte more", "1 bytes too long", func(p *parts) { p.unpacked = append(p.unpacked, 0) }},
		{"raw byte more", "1 bytes too long", func(p *parts) { p.raw = append(p.raw, 0) }},
		{"raw byte less", "ends too early", func(p *parts) { p.raw = p.raw[1:] }},
		{"summary byte more", "summary: 1 bytes too long", func(p *parts) { p.summary = append(p.summary, 0) }},
		{"summary byte less", "summary: ends too early", func(p *parts) { p.summary = p.summary[:len(p.summary)-1] }},
		{"no summary", "summary: ends too early", func(p *parts) { p.summary = nil }},
		{"no index", "index: ends too early", func(p *parts) { p.unpacked, p.raw, p.inline = nil, nil, 0 }},
		{"other schema", "schema is not that of the tensors", func(p *parts) { p.summary[16] ^= 1 }},
		{"no blocks", "outside the blocks", func(p *parts) { p.blocks = p.blocks[:headerSize] }},
		{"many tensors", "number of tensors", func(p *parts) { p.replace("safetensors", 16, 8, 0xff, 0x7f) }},
		{"name twice", "two tensors of one name", func(p *parts) { p.rename("step.b.weight", "step.a.weight", s) }},
		{"mask as a string that is in the name", "mask is part of the name", func(p *parts) { p.column(colCoding, "\x0cother.weight", "\x08a.weight") }},
		{"second occurrence of a mask", "mask is not the first occurrence", func(p *parts) { p.column(colCoding, "\x08\x00", "\x08\x07") }},
		{"empty mask", "mask is not the first occurrence", func(p *parts) { p.column(colCoding, "\x08\x00", "\x10\x00") }},
		{"mask beyond the name", "mask 17 is beyond 16", func(p *parts) { p.column(colCoding, "\x08\x00", "\x11\x00") }},
		{"two masks", "two masks", func(p *parts) { p.column(colCoding, "\x04\xea", "\x04\xfa") }},
		{"shares its own support", "support of tensor +0", func(p *parts) { p.column(colCoding, "\x04\x34\x01", "\x04\x34\x00") }},
		{"shares the support of none", "support of tensor -2", func(p *parts) { p.column(colCoding, "\x04\x34\x01", "\x04\x34\x03") }},
		{"base of none", "base 4 is beyond 3", func(p *parts) { p.column(colCoding, "\x03\x01\x00", "\x03\x01\x04") }},
		{"base one too far", "dependency 3 or -1 of 3", func(p *parts) { p.column(colCoding, "\x03\x01\x00", "\x03\x01\x03") }},
		{"method", "method 64", func(p *parts) { p.column(colCoding, "\x03\x01\x00", "\x40\x01\x00") }},
		{"empty model", "model of no bytes", func(p *parts) { p.column(colBlocks, "\x59", "\x01") }},
		{"empty block with a place", "block of no bytes has a place", func(p *parts) { p.column(colBlocks, "\x01\x01\x00", "\x01\x00\x00\x00") }},
		{"block in the header", "block at 15", func(p *parts) { p.column(colBlocks, "\x90\x03\x00", "\x90\x03\x01") }},
		{"many chunks", "number of blocks 126 is beyond", func(p *parts) { p.column(colBlocks, "\x02\x90", "\x7e\x90") }},
		{"inline byte more", "inline column of 84 bytes, used 83", func(p *parts) { p.column(colInline, "", "x") }},
		{"figure of 0", "a figure is 0", func(p *parts) { p.column(colFigures, "\x00\x00\x00\x3e", "\x00\x00\x00\x80") }},
		{"other NaN", "NaN with the bits 7FC00001", func(p *parts) { p.column(colFigures, "\x00\x00\x00\x3e", "\x01\x00\xc0\x7f") }},
		{"dtype", "unknown dtype 23", func(p *parts) { p.column(colShapes, "\x14\x01\x06", "\x17\x01\x06") }},
		{"dimension", "leaves the file", func(p *parts) { p.column(colShapes, "\x0b\x01\x64", "\x0b\x01\xe4\xff\x7f") }},
		{"shape overflows", "is too large", func(p *parts) {
			p.column(colShapes, "\x0b\x01\x64", "\x0b\x01\x80\x80\x80\x80\x80\x80\x80\x80\x40")
		}},
		{"distance", "distance 127 is beyond", func(p *parts) { p.column(colShapes, "\x14\x01\x06\x00", "\x14\x01\x06\x7f") }},
		{"verbatim byte more", "verbatim bytes for", func(p *parts) { p.column(colVerbatim, "end", "endx") }},
		{"uvarint too long", "uvarint is too long", func(p *parts) { p.unpacked = append([]byte{p.unpacked[0] | 0x80, 0}, p.unpacked[1:]...) }},
	} {
		p := newParts(t, s)
		c.change(p)
		err := readAll(p.join())
		if d, ok := errors.AsType[*DamageError](err); !ok || !strings.Contains(d.What, c.want) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

// column replaces the first occurrence of bytes in a column.
func (p *parts) column(i int, from, to string) {
	cs, err := splitColumns(p.unpacked, p.raw)
	must(err)
	if !bytes.Contains(cs[i], []byte(from)) {
		panic(fmt.Sprintf("no %q in column %d", from, i))
	}
	cs[i] = bytes.Replace(cs[i], []byte(from), []byte(to), 1)
	p.unpacked, p.raw = cs.join()
	p.inline = len(cs[colInline])
}

// Lengths in the trailer that its own checksum does not contradict.
func TestMalformedTrailer(t *testing.T) {
	s := newSample()
	for _, c := range []struct {
		at    int
		value uint32
		want  string
	}{
		{64, 2015, "2014 bytes of an archive of 2015"},
		{72, 2000, "index and summary of 2297 bytes in a file of 2014"},
		{72, 1<<32 - 1, "in a file of 2014"},
		{76, 354*packedGrow + packedFree + 1, "index unpacks from 354 to"},
		{76, 374, "unpacks to 373 bytes, not 374"},
		{76, 372, "index: "},
		{88, 1 << 31, "in a file of 2014"},
		{88, 196, "summary checksum does not match"},
	} {
		p := bytes.Clone(s.bytes)
		tr := p[len(p)-trailerSize:]
		le.PutUint32(tr[c.at:], c.value)
		le.PutUint32(tr[100:], checksum(tr[:100]))
		var err error
		if n := allocated(func() { err = readAll(p) }); n > allocMax {
			t.Errorf("%d at %d: %d bytes allocated", c.value, c.at, n)
		}
		if d, ok := errors.AsType[*DamageError](err); !ok || !strings.Contains(d.What, c.want) {
			t.Errorf("%d at %d: %v", c.value, c.at, err)
		}
	}
}

// replace overwrites the byte skip after the word by others, of which the first column grows.
func (p *parts) replace(word string, skip, was byte, now ...byte) {
	at := bytes.Index(p.unpacked, []byte(word)) + len(word) + int(skip)
	if p.unpacked[at] != was {
		panic(fmt.Sprintf("%x at %d", p.unpacked[at], at))
	}
	p.unpacked = append(append(bytes.Clone(p.unpacked[:at]), now...), p.unpacked[at+1:]...)
	p.unpacked[0] += byte(len(now) - 1)
}

// rename changes a name to another of the same length, and the schema with it.
func (p *parts) rename(from, to string, s *sample) {
	p.unpacked = bytes.Replace(p.unpacked, []byte(from), []byte(to), 1)
	l := s.index.Layout()
	for i := range l.Tensors {
		if l.Tensors[i].Name == from {
			l.Tensors[i].Name = to
		}
	}
	schema := l.Schema()
	copy(p.summary[16:], schema[:])
}
