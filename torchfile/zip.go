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

// zipEnd is what the end of a zip says of it; offsets count in the file.
type zipEnd struct {
	start, dir, dirLen, end int64
	entries                 uint64
}

// findEnd reads the end of the zip whose last byte comes before end. Where the
// zip starts follows from the lengths it gives, so it may stand behind others.
func findEnd(r io.ReaderAt, end int64) (z zipEnd, err error) {
	b := make([]byte, min(max(end, 0), endLen+locatorLen+end64Len))
	if err := readAt(r, b, end-int64(len(b))); err != nil {
		return z, err
	}
	if len(b) < endLen || string(b[len(b)-endLen:][:4]) != endSig {
		return z, malformed("no end of a zip before byte %d", end)
	}
	e := b[len(b)-endLen:]
	z = zipEnd{dirLen: u32(e, 12), start: u32(e, 16), end: end, entries: uint64(u16(e, 10))} // start: of the directory, yet
	tail := int64(endLen)
	if b = b[:len(b)-endLen]; len(b) == locatorLen+end64Len && string(b[end64Len:][:4]) == locatorSig {
		if err := z.widen(b); err != nil {
			return z, err
		}
		tail += locatorLen + end64Len
	}
	offset := z.start
	z.dir = end - tail - z.dirLen
	z.start = z.dir - offset
	switch {
	case u32(e, 4) != 0 || u16(e, 8) != u16(e, 10):
		return z, malformed("zip of several volumes before byte %d", end)
	case u16(e, 20) != 0:
		return z, malformed("zip with a comment before byte %d", end)
	case z.dir < 0 || z.start < 0 || offset < 0:
		return z, malformed("zip before byte %d: directory of %d bytes after %d bytes", end, z.dirLen, offset)
	case tail > endLen && int64(u64(b, end64Len+8)) != end-tail-z.start:
		return z, malformed("zip before byte %d: locator points to %d", end, u64(b, end64Len+8))
	case z.entries > uint64(z.dirLen/centralLen):
		return z, malformed("zip before byte %d: %d entries in %d bytes", end, z.entries, z.dirLen)
	}
	return z, z.check(r)
}

// widen takes the numbers of the zip64 records. The short ones must agree.
func (z *zipEnd) widen(b []byte) error {
	length, offset, entries := u64(b, 40), u64(b, 48), u64(b, 32)
	agree := func(short, long, limit uint64) bool { return short == long || short == limit }
	switch {
	case string(b[:4]) != end64Sig || u64(b, 4) != end64Len-12:
		return malformed("no zip64 end before byte %d", z.end)
	case !agree(uint64(z.dirLen), length, max32) || !agree(uint64(z.start), offset, max32) || !agree(z.entries, entries, max16):
		return malformed("zip64 end before byte %d: %d entries, %d bytes at %d do not agree with the end's", z.end, entries, length, offset)
	case u64(b, 16) != 0 || u64(b, 24) != entries || u32(b, end64Len+4) != 0:
		return malformed("zip of several volumes before byte %d", z.end)
	case length > uint64(z.end) || offset > uint64(z.end):
		return malformed("zip64 end before byte %d: directory of %d bytes after %d bytes", z.end, length, offset)
	}
	z.dirLen, z.start, z.entries = int64(length), int64(offset), entries
	return nil
}

// check looks for the first header and the directory where they should be.
func (z *zipEnd) check(r io.ReaderAt) error {
	for _, c := range []struct {
		sig string
		at  int64
	}{{localSig, z.start}, {centralSig, z.dir}} {
		var b [4]byte
		if err := readAt(r, b[:], c.at); err != nil {
			return err
		}
		if string(b[:]) != c.sig {
			return malformed("zip before byte %d: no %q at byte %d", z.end, c.sig, c.at)
		}
	}
	return nil
}

// record is an entry of a zip; offsets count in the file.
type record struct {
	name           string
	method, flags  int
	header         int64
	data, len, end int64   // of the payload, and the end with its descriptor
	crcs           []int64 // places of its CRC-32
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
	if u32(h, 14) != 0 {
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
