package tests

import (
	le "encoding/binary"
	"hash/crc32"
)

// futureVersion makes the header and trailer of an archive say version 3, with
// sound checksums (docs/FORMAT.md sections 2.1 and 2.2).
func futureVersion(b []byte) []byte {
	castagnoli := crc32.MakeTable(crc32.Castagnoli)
	le.LittleEndian.PutUint16(b[8:], 3)
	le.LittleEndian.PutUint32(b[12:], crc32.Checksum(b[:12], castagnoli))
	trailer := b[len(b)-100:]
	le.LittleEndian.PutUint16(trailer[88:], 3)
	le.LittleEndian.PutUint32(trailer[92:], crc32.Checksum(trailer[:92], castagnoli))
	return b
}
