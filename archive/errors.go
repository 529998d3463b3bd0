package archive

import (
	"errors"
	"fmt"
)

// ErrNotArchive is returned for a file that does not begin as an archive.
var ErrNotArchive = errors.New("not an excpfs archive")

// VersionError is returned for an archive made by a later release.
type VersionError struct {
	File    string
	Version uint16
}

func (e *VersionError) Error() string {
	return fmt.Sprintf("%s: archive format version %d is newer than this excpfs reads (%d); upgrade excpfs", e.File, e.Version, Version)
}

// MissingError is returned when a content that decoding needs is nowhere.
type MissingError struct {
	File string
	Role Role
	ID   ID
	Hint string
}

func (e *MissingError) Error() string {
	return fmt.Sprintf("%s: its base %x (last seen as %q) is missing from the store", e.File, e.ID, e.Hint)
}

// DamageError says where an archive is damaged.
type DamageError struct {
	File   string
	Tensor string // "" where no tensor is concerned
	Offset int64  // in the archive
	What   string
}

func (e *DamageError) Error() string {
	if e.Tensor == "" {
		return fmt.Sprintf("%s: damaged at offset %d: %s", e.File, e.Offset, e.What)
	}
	return fmt.Sprintf("%s: tensor %q damaged at offset %d: %s", e.File, e.Tensor, e.Offset, e.What)
}

// UnsupportedError is returned for an archive of a known version that uses
// something this release does not know.
type UnsupportedError struct {
	File string
	What string
}

func (e *UnsupportedError) Error() string {
	return fmt.Sprintf("%s: archive uses %s, which this excpfs does not know; upgrade excpfs", e.File, e.What)
}
