package archive

import (
	"encoding/binary"
	"hash/crc32"
)

// Version is the newest format version this package reads. Version 2 added the
// structured form of the verbatim column; archives of safetensors files are of version 1.
const (
	Version           = 2
	versionStructured = 2
)

const (
	headMagic = "\x8eEXCP\r\n\x1a" // a text conversion or a 7-bit channel breaks it
	tailMagic = "\x1a\nE\x8e"

	headerSize  = 16
	trailerSize = 108
	tailSize    = 4096 // what a listing reads
)

// Limits, docs/FORMAT.md section 4.
const (
	inlineMax      = 128     // stored bytes of a block that goes into the index
	hashMin        = 64      // tensors of more bytes have a hash
	packedMax      = 1 << 28 // unpacked bytes of the packed columns
	packedGrow     = 256     // ... and as a multiple of their stored bytes
	packedFree     = 1 << 16 // ... plus this
	structuredFree = 1 << 20 // ... in the structured form of the verbatim column
	picklesMax     = 1 << 16 // of one zip
	rawMax         = 1 << 28
	tensorsMax     = 1 << 24
	summaryMax     = 1 << 20
	hintMax        = 4096
	methodMax      = 63
)

// The columns of the index. Those before numPacked are compressed.
const (
	colFile = iota
	colVerbatim
	colNames
	colShapes
	colCoding
	colBlocks
	colInline
	colHashes
	colCRCs
	colFigures
	numColumns
	numPacked = colHashes
)

var columnNames = [numColumns]string{"file", "verbatim", "names", "shapes", "coding", "blocks",
	"inline", "hashes", "CRCs", "figures"}

// Flags of a tensor in the coding column.
const (
	flagBase = 1 << iota
	flagWeights
	flagSupport
	flagMaskPart
	flagMaskString
	flagModel
	flagMean
	flagError
)

var (
	le         = binary.LittleEndian
	castagnoli = crc32.MakeTable(crc32.Castagnoli)
)

func checksum(p []byte) uint32 { return crc32.Checksum(p, castagnoli) }
