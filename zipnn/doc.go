// Package zipnn reads what ZipNN (github.com/zipnn/zipnn, versions 0.4 and 0.5) compresses,
// without loss: .znn.safetensors, where some tensors are replaced by streams, and .znn,
// streams one after another that are the pieces of any file.
//
// A stream, little-endian:
//
//	0   2 bytes  "ZN"
//	2   3        version
//	5   1        how bytes are grouped: 10 by two (16-bit types; for 8-bit ones it means nothing), 220 by four
//	6   1        1: the sign is below the exponent
//	7   1        method of the whole; chunks say by themselves what they are
//	8   1        kind of input: 1 bytes, 2 torch, 3 numpy
//	9   1        not 0: the difference to another file
//	10  3        lossy compression, not 0: in use
//	13  1        from 128 on: one of several streams
//	14  1        log2 of the chunk size
//	15  1        element type
//	16  u64      bytes of what was compressed
//	24  u64      bytes of the stream
//	32           of torch and numpy the shape: number of dimensions, then each as its width in bytes and itself
//	             per group and chunk u8 method: 0 as it is, 1 Huffman (huff0, four streams)
//	             per group and chunk u64 bytes of the group's chunks so far
//	             the chunks, group after group
//
// A group is every second or fourth byte of a chunk. Nothing in a stream is a checksum:
// damage that keeps the lengths right cannot be told.
package zipnn
