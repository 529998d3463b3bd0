// Command excpfs keeps training checkpoints compressed in a store and shows
// them through a mount as the files they were. One file here is one verb; what
// they share is in flags.go, locate.go, walk.go, progress.go and format.go.
package main
