package archive

// Kinds of segments. Those from segLocal to segEnd are parts of a zip (APPNOTE.TXT sections 4.3 and 4.5).
const (
	segRaw = iota
	segPickle
	segCount // of the elements of the tensor that follows, 8 bytes
	segLocal
	segDescriptor
	segDescriptor64
	segCentral
	segEnd64
	segLocator
	segEnd
	numKinds
)

var kindNames = [numKinds]string{"raw", "pickle", "count", "local header", "descriptor", "descriptor, 64 bit", "central header",
	"zip64 end", "zip64 locator", "end"}

// field of a part: its bytes, and what it is if not a number of no further meaning.
type field uint8

const (
	fieldWidth field = 0x0f
	fieldSum   field = 0x10 // CRC-32
	fieldText  field = 0x20 // length of the next of the texts that follow the fields
)

// cut drops the bits that a field has no room for.
func (w field) cut(v uint64) uint64 { return v & (1<<(8*(w&fieldWidth)) - 1) }

// Places in part.num. The first five fields of a local header are the second to
// the sixth of a central one.
const (
	localFlags, localSum, localPacked, localSize                 = 1, 5, 6, 7
	centralMade, centralSum, centralPacked, centralSize          = 0, 6, 7, 8
	centralDisk, centralInternal, centralExternal, centralOffset = 12, 13, 14, 15

	commonFields   = 5
	localLength    = 30
	flagDescriptor = 1 << 3
	max16, max32   = 1<<16 - 1, 1<<32 - 1
)

// partFormat is how a kind of part is spelled.
type partFormat struct {
	sig    string
	fields []field
	length int // of signature and fields
	texts  int
	mask   uint64 // a bit for each text, then one for each field that is not the length of one
}

var partFormats = func() (all [numKinds]partFormat) {
	const s, t = fieldSum | 4, fieldText | 2
	add := func(kind int, sig string, fields ...field) {
		f := partFormat{sig: sig, fields: fields, length: len(sig)}
		for _, w := range fields {
			f.length += int(w & fieldWidth)
			f.texts += int(w & fieldText / fieldText)
		}
		f.mask = 1<<f.texts - 1
		for i, w := range fields {
			if w&fieldText == 0 {
				f.mask |= 1 << (f.texts + i)
			}
		}
		all[kind] = f
	}
	// version, flags, method, time, date, CRC, packed size, size, name, extra field
	add(segLocal, "PK\x03\x04", 2, 2, 2, 2, 2, s, 4, 4, t, t)
	add(segDescriptor, "PK\x07\x08", s, 4, 4)
	add(segDescriptor64, "PK\x07\x08", s, 8, 8)
	// version of the maker, then as above, comment, disk, internal and external attributes, offset
	add(segCentral, "PK\x01\x02", 2, 2, 2, 2, 2, 2, s, 4, 4, t, t, t, 2, 2, 4, 4)
	// its length, version of the maker, version, disks, entries twice, directory's length and offset
	add(segEnd64, "PK\x06\x06", 8, 2, 2, 4, 4, 8, 8, 8, 8)
	// disk, offset of the zip64 end, disks
	add(segLocator, "PK\x06\x07", 4, 8, 4)
	// disks, entries twice, directory's length and offset, comment
	add(segEnd, "PK\x05\x06", 2, 2, 2, 2, 4, 4, t)
	return all
}()

// part is a part of a zip taken apart.
type part struct {
	num  [16]uint64
	text [3][]byte
}

// parse reads a part of a kind from the front of p; 0: it is not there, or not whole.
func (t *part) parse(kind uint8, p []byte) (length int) {
	f := &partFormats[kind]
	if len(p) < f.length || string(p[:len(f.sig)]) != f.sig {
		return 0
	}
	at, n := len(f.sig), 0
	var lengths [3]int
	for i, w := range f.fields {
		t.num[i] = number(p[at:][:w&fieldWidth])
		at += int(w & fieldWidth)
		if w&fieldText != 0 {
			lengths[n] = int(t.num[i])
			n++
		}
	}
	for i, n := range lengths {
		if n > len(p)-at {
			return 0
		}
		t.text[i] = p[at:][:n:n]
		at += n
	}
	return at
}

// append is the inverse of parse. Lengths are those of the texts.
func (t *part) append(b []byte, kind uint8) []byte {
	f := &partFormats[kind]
	b = append(b, f.sig...)
	n := 0
	for i, w := range f.fields {
		v := t.num[i]
		if w&fieldText != 0 {
			v = uint64(len(t.text[n]))
			n++
		}
		b = appendNumber(b, v, int(w&fieldWidth))
	}
	for _, x := range t.text[:n] {
		b = append(b, x...)
	}
	return b
}

func appendNumber(b []byte, v uint64, width int) []byte {
	for range width {
		b = append(b, byte(v))
		v >>= 8
	}
	return b
}

// number reads a little-endian number of any width up to 8.
func number(p []byte) (v uint64) {
	for i, b := range p {
		v |= uint64(b) << (8 * i)
	}
	return v
}
