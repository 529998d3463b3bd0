// Package seal decides when and how plain files become archives: settle time,
// folder jobs, base choice, encode, verify, swap; and the same without a mount.
//
// A file goes through it like this:
//
//	store queue -> settler (when) -> job (a folder's files, weights first)
//	            -> choice (known content, base, profile) -> temporary archive
//	            -> verify -> swap
//
// Beside a mount (Options.Idle) what reads, encodes and verifies runs on threads of
// nice 19 and idle I/O priority. At normal priority run the swap, which holds the store's
// locks, and the goroutines that decode starts for a read of several chunks.
package seal
