// Package fs is the FUSE adapter over store: the only importer of go-fuse. Its
// methods are thin; what a name or a handle is, package store knows. The one
// thing decided here is how the kernel reads and writes an open file: through
// its page cache, past it, or straight on the host file (mode.go).
package fs
