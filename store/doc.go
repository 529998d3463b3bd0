// Package store is the mirror: a folder on the host filesystem in which each user
// file is one file, plain or an archive. Names, identity, intents and recovery,
// the catalogue of contents, retained archives, thaw and swap. What is on disk
// is docs/FORMAT.md section 1, which is normative.
//
// Locks, in the order in which they are taken:
//
//	node.work  one thaw of a file at a time; held while decoding
//	Store.ns   the namespace: shared by what takes one host operation or only looks,
//	           exclusive for what takes several and for all that gives an archive a name
//	           or takes one away. Never held while decoding or while waiting for the scan.
//	           Descriptors of folders hold as long as it is held (dirfd.go)
//	node.mu    what the handles of a file read from
//	Store.mu   small state in memory: folders, nodes, queue. Nothing is called under it but closing a descriptor
//
// and leaf mutexes of the catalogue, the summaries, .excpfs and the journal of the queue.
//
// Exported methods take the locks; the others say which they need.
package store
