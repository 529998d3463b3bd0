package torchfile

import (
	"cmp"
	"io"
	"slices"
	"strings"
)

// The structures of a zip (APPNOTE.TXT sections 4.3 and 4.5).
const (
	localSig      = "PK\x03\x04"
	centralSig    = "PK\x01\x02"
	descriptorSig = "PK\x07\x08"
	endSig        = "PK\x05\x06"
	end64Sig      = "PK\x06\x06"
	locatorSig    = "PK\x06\x07"

	localLen   = 30
	centralLen = 46
	endLen     = 22
	end64Len   = 56
	locatorLen = 20

	extraZip64     = 1
	flagEncrypted  = 1 << 0
	flagDescriptor = 1 << 3 // CRC and sizes follow the payload
	max16          = 1<<16 - 1
	max32          = 1<<32 - 1
)

// record is an entry of a zip; offsets count in the file.
type record struct {
	name           string
	method, flags  int
	header         int64
	data, len, end int64   // of the payload, and the end with its descriptor
	crcs           []int64 // places of its CRC-32, also before the payload where it is not left to the descriptor
}

// plain reports whether the payload stands in the file as it is.
func (c *record) plain() bool { return c.method == 0 && c.flags&flagEncrypted == 0 }

// readRecords reads the directory and the header of each record, and proves that
// the records do not overlap.
func readRecords(r io.ReaderAt, z zipEnd) ([]record, error) {
	var all []record
	s := newSource(r, z.dir, z.dir+z.dirLen)
	for s.left() > 0 {
		c, err := readCentral(s, z.start)
		if err != nil {
			return nil, err
		}
		all = append(all, c)
	}
	if uint64(len(all)) != z.entries {
		return nil, malformed("zip of %d records lists %d", z.entries, len(all))
	}
	slices.SortFunc(all, func(a, b record) int { return cmp.Compare(a.header, b.header) })
	for i := range all {
		limit := z.dir
		if i+1 < len(all) {
			limit = all[i+1].header
		}
		if err := all[i].place(r, limit); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// readCentral reads one entry of the directory.
func readCentral(s *source, start int64) (c record, err error) {
	at := s.pos
	h, err := s.bytes(centralLen)
	if err != nil {
		return c, err
	}
	if string(h[:4]) != centralSig {
		return c, malformed("no entry of a directory at byte %d", at)
	}
	name, err := s.bytes(uint64(u16(h, 28)))
	if err != nil {
		return c, err
	}
	extra, err := s.bytes(uint64(u16(h, 30)))
	if err != nil {
		return c, err
	}
	if err := s.skip(uint64(u16(h, 32))); err != nil { // comment
		return c, err
	}
	c = record{name: string(name), flags: u16(h, 8), method: u16(h, 10)}
	packed, size, offset, ok := widths(h, extra)
	switch {
	case !ok:
		return c, malformed("record %q: no zip64 field", c.name)
	case size > uint64(s.end) || packed > uint64(s.end) || offset > uint64(s.end-start):
		return c, malformed("record %q: %d bytes at %d lie outside of the zip", c.name, packed, offset)
	case c.plain() && packed != size:
		return c, malformed("record %q: %d bytes are stored as %d", c.name, size, packed)
	}
	c.header, c.len = start+int64(offset), int64(packed)
	c.crcs = []int64{at + 16}
	return c, nil
}

// widths are the sizes and the offset of an entry, from its zip64 field where
// the short ones are all ones.
func widths(h, extra []byte) (packed, size, offset uint64, ok bool) {
	size, packed, offset = uint64(u32(h, 24)), uint64(u32(h, 20)), uint64(u32(h, 42))
	var wide []byte
	for len(extra) >= 4 {
		n := u16(extra, 2)
		if n > len(extra)-4 {
			break
		}
		if u16(extra, 0) == extraZip64 {
			wide = extra[4:][:n]
			break
		}
		extra = extra[4+n:]
	}
	for _, v := range []*uint64{&size, &packed, &offset} {
		if *v != max32 {
			continue
		}
		if len(wide) < 8 {
			return 0, 0, 0, false
		}
		*v, wide = u64(wide, 0), wide[8:]
	}
	return packed, size, offset, true
}

// place reads the record's own header and finds its payload, which ends with
// its descriptor before limit.
func (c *record) place(r io.ReaderAt, limit int64) error {
	if limit-c.header < localLen+int64(len(c.name)) {
		return malformed("record %q at byte %d overlaps what follows at %d", c.name, c.header, limit)
	}
	h := make([]byte, localLen+len(c.name))
	if err := readAt(r, h, c.header); err != nil {
		return err
	}
	c.data = c.header + int64(len(h)) + int64(u16(h, 28))
	c.end = c.data + c.len
	switch {
	case string(h[:4]) != localSig:
		return malformed("record %q: no header at byte %d", c.name, c.header)
	case u16(h, 26) != len(c.name) || string(h[localLen:]) != c.name:
		return malformed("record %q: another name at byte %d", c.name, c.header)
	case u16(h, 6) != c.flags || u16(h, 8) != c.method:
		return malformed("record %q: another method at byte %d", c.name, c.header)
	case !shortSize(u32(h, 18), c.len):
		return malformed("record %q: another size at byte %d", c.name, c.header)
	case c.end > limit:
		return malformed("record %q: %d bytes at %d overlap what follows at %d", c.name, c.len, c.data, limit)
	}
	if u32(h, 14) != 0 || c.flags&flagDescriptor == 0 {
		c.crcs = append(c.crcs, c.header+14)
	}
	if c.flags&flagDescriptor == 0 || c.len == 0 { // an empty record may have none
		return nil
	}
	return c.descriptor(r, limit)
}

// shortSize reports whether a header may give a size so: not yet known, in a
// zip64 field, or as it is.
func shortSize(short, size int64) bool { return short == 0 || short == max32 || short == size }

// descriptor finds the CRC that follows the payload, in each of the four forms:
// with or without a signature, with sizes of 4 or 8 bytes.
func (c *record) descriptor(r io.ReaderAt, limit int64) error {
	b := make([]byte, min(24, limit-c.end))
	if err := readAt(r, b, c.end); err != nil {
		return err
	}
	sig := 0
	if strings.HasPrefix(string(b), descriptorSig) {
		sig = 4
	}
	for ; sig >= 0; sig -= 4 { // a CRC may look like the signature
		n := uint64(c.len)
		wide := len(b) >= sig+20 && c.method == 0 && u64(b, sig+4) == n && u64(b, sig+12) == n
		short := len(b) >= sig+12 && uint64(u32(b, sig+4)) == n && (c.method != 0 || uint64(u32(b, sig+8)) == n)
		if wide || short {
			c.crcs = append(c.crcs, c.end+int64(sig))
			c.end += int64(sig) + 12
			if wide {
				c.end += 8
			}
			return nil
		}
	}
	return malformed("record %q: no descriptor of %d bytes at byte %d", c.name, c.len, c.end)
}
