// Package cache keeps decoded chunks: a budget in bytes, one computation a key,
// entries pinned while in use. It knows bytes and keys, nothing else.
package cache
