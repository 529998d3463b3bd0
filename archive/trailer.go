package archive

import "fmt"

// FileIdentity is how the host knew a file: its inode, and what changes when
// somebody writes to it. Times are nanoseconds since 1970.
type FileIdentity struct {
	Ino   uint64
	Size  int64
	Mtime int64
	Ctime int64
}

// Trailer is the fixed end of an archive.
type Trailer struct {
	Plain       FileIdentity // the plain file this archive replaced; zero: none
	FolderMtime int64        // of the plain file's folder before the swap; 0: unknown
	// Inode identity across sealing: the number users see, valid while the
	// archive still has this host inode and birth time (a copy has others).
	Ino     uint64
	HostIno uint64
	Btime   int64
}

// sections is the part of the trailer that finds and checks index and summary.
type sections struct {
	version    uint16
	size       int64  // of the archive
	packed     uint32 // packed columns, stored
	unpacked   uint32
	raw        uint32 // raw columns
	indexCRC   uint32
	summary    uint32
	summaryCRC uint32
}

// index is the stored length of the whole index.
func (s sections) index() int64 { return int64(s.packed) + int64(s.raw) }

// check compares the lengths with each other and with the size of the file.
func (s sections) check(size int64) error {
	switch {
	case s.size != size:
		return fmt.Errorf("%d bytes of an archive of %d", size, s.size)
	case s.index()+int64(s.summary) > size-headerSize-trailerSize:
		return fmt.Errorf("index and summary of %d bytes in a file of %d", s.index()+int64(s.summary), size)
	case int64(s.unpacked) > packedLimit(int64(s.packed)):
		return fmt.Errorf("index unpacks from %d to %d bytes", s.packed, s.unpacked)
	case s.packed > packedMax || s.raw > rawMax || s.summary > summaryMax:
		return fmt.Errorf("index of %d and %d, or summary of %d bytes", s.packed, s.raw, s.summary)
	}
	return nil
}

// packedLimit is the most that n stored bytes may unpack to.
func packedLimit(n int64) int64 { return min(packedMax, n*packedGrow+packedFree) }

func appendTrailer(b []byte, t Trailer, s sections) []byte {
	at := len(b)
	for _, v := range []uint64{t.Plain.Ino, uint64(t.Plain.Size), uint64(t.Plain.Mtime), uint64(t.Plain.Ctime),
		uint64(t.FolderMtime), t.Ino, t.HostIno, uint64(t.Btime), uint64(s.size)} {
		b = le.AppendUint64(b, v)
	}
	for _, v := range []uint32{s.packed, s.unpacked, s.raw, s.indexCRC, s.summary, s.summaryCRC} {
		b = le.AppendUint32(b, v)
	}
	b = le.AppendUint16(b, s.version)
	b = le.AppendUint16(b, 0)
	b = le.AppendUint32(b, checksum(b[at:]))
	return append(b, tailMagic...)
}

// trailerVersion reads the version from the last trailerSize bytes; false: the magic is not there.
func trailerVersion(b []byte) (uint16, bool) {
	return le.Uint16(b[96:]), string(b[104:]) == tailMagic
}

// parseTrailer reads the last trailerSize bytes of an archive of a version that is known.
func parseTrailer(b []byte) (t Trailer, s sections, err error) {
	if checksum(b[:100]) != le.Uint32(b[100:]) {
		return t, s, fmt.Errorf("trailer checksum does not match")
	}
	if z := le.Uint16(b[98:]); z != 0 {
		return t, s, &UnsupportedError{What: fmt.Sprintf("trailer flags %#04x", z)}
	}
	c := cursor{p: b}
	i64 := func() int64 { return int64(c.u64()) }
	t.Plain = FileIdentity{Ino: c.u64(), Size: i64(), Mtime: i64(), Ctime: i64()}
	t.FolderMtime, t.Ino, t.HostIno, t.Btime = i64(), c.u64(), c.u64(), i64()
	s = sections{version: le.Uint16(b[96:]), size: i64(), packed: c.u32(), unpacked: c.u32(), raw: c.u32(), indexCRC: c.u32(), summary: c.u32(), summaryCRC: c.u32()}
	return t, s, nil
}
