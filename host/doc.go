// Package host is the store's view of the host filesystem: thin calls relative to
// folder descriptors. Every operation that changes something passes a hook first, so
// that tests can fail it or stop the world there. No name given to it is a path:
// nothing it does follows a symbolic link or leaves the folder.
package host
