// Package archive is the container: header, blocks, index, summary, trailer.
// It frames, checksums and finds blocks; what is inside them is codec's
// business. The byte layout is docs/FORMAT.md section 2, which is normative.
//
//	header | block ... block | index | summary | trailer
//	                                   \_ the last 4 KiB tell all of a listing _/
//
// Blocks of a few bytes live inside the index, where they need no checksum of
// their own and compress together. Reader.Block hides the difference.
//
// Every length and count is checked against the bytes that are there before
// anything is allocated by it. What does not parse is a *DamageError; what a
// later release may have meant is a *VersionError or an *UnsupportedError.
package archive
