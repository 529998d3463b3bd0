// Package decode turns archives back into the bytes of the files they stand for:
// any range, by chunk, along the chain.
//
// A read is cut into pieces of chunks (extent.go), which come pinned from the
// cache (read.go). A chunk that is not there is computed in one buffer: its
// base's chunk first, then the corrections, level by level (chunk.go). What the
// blocks of a tensor hold is docs/FORMAT.md section 3, "Framing of a chunk".
package decode
