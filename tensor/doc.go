// Package tensor holds the words every other package shares: element types,
// shapes, and the layout of a tensor file as bytes that are tensors and bytes
// that are not. It imports nothing of ours.
package tensor
