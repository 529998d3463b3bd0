package torchfile

import "io"

// zipEnd is what the end of a zip says of it; offsets count in the file.
type zipEnd struct {
	start, dir, dirLen, end int64
	entries                 uint64
	comment                 int // bytes of a comment behind the end
}

// findFileEnd reads the end of the zip that a whole file is, behind which a
// comment may stand.
func findFileEnd(r io.ReaderAt, size int64) (zipEnd, error) {
	z, err := findEnd(r, size)
	if !isMalformed(err) {
		return z, err
	}
	b := make([]byte, min(max(size, 0), endLen+max16))
	at := size - int64(len(b))
	if err := readAt(r, b, at); err != nil {
		return z, err
	}
	for i := len(b) - endLen; i >= 0; i-- {
		if string(b[i:][:4]) == endSig && i+endLen+u16(b, i+20) == len(b) {
			if z, err := readEnd(r, at+int64(i)+endLen); err == nil && z.start == 0 || err != nil && !isMalformed(err) {
				return z, err
			}
		}
	}
	return z, err
}

// findEnd reads the end of the zip whose last byte comes before end.
func findEnd(r io.ReaderAt, end int64) (zipEnd, error) {
	z, err := readEnd(r, end)
	if err == nil && z.comment != 0 {
		err = malformed("zip with a comment before byte %d", end)
	}
	return z, err
}

// readEnd reads the end of a zip up to where its comment begins. Where the zip
// starts follows from the lengths it gives, so it may stand behind others.
func readEnd(r io.ReaderAt, end int64) (z zipEnd, err error) {
	b := make([]byte, min(max(end, 0), endLen+locatorLen+end64Len))
	if err := readAt(r, b, end-int64(len(b))); err != nil {
		return z, err
	}
	if len(b) < endLen || string(b[len(b)-endLen:][:4]) != endSig {
		return z, malformed("no end of a zip before byte %d", end)
	}
	e := b[len(b)-endLen:]
	z = zipEnd{dirLen: u32(e, 12), start: u32(e, 16), end: end, entries: uint64(u16(e, 10)), comment: u16(e, 20)} // start: of the directory, yet
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
