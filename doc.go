// Package excpfs keeps training checkpoints compressed on disk and shows them,
// through a FUSE mount, as the safetensors files they were. It has no code: the
// program is cmd/excpfs, and this is the map of the rest.
//
// Bytes go in:
//
//	fs      a file is written into the mount and stays plain while it is open
//	seal    when it has settled, finds a base and starts the job
//	encode  decides how each tensor is stored: as it is, or as what changed since the base
//	codec   residuals, codebooks, entropy coding
//	archive frames the result, checksums it and writes the index
//	store   puts the archive in the place of the plain file
//
// And out:
//
//	fs      a read of some bytes at some offset
//	store   finds the archive and those it is a residual of
//	decode  from the offset to a tensor, its chunks, and back along the chain
//	cache   keeps decoded chunks
//	archive gives the stored blocks, each checked
//	codec   undoes the coding
//
// Below them all, tensor has the words they share: element types, shapes, and a
// file as a list of tensors; safetensors reads that list from a file, and host is
// the operating system as store needs it.
//
// Imports go one way, which deps_test.go holds. What is on disk is defined in
// docs/FORMAT.md; ARCHITECTURE.md follows one read and one write through the files.
package excpfs
