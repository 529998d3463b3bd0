package torchfile

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"

	"excpfs/tensor"
)

// The names of the formats in a layout.
const (
	Format       = "torch"
	FormatLegacy = "torch-legacy"
	FormatDistcp = "distcp"
)

// FormatError says why a file is not one of PyTorch's, or cannot be taken apart.
type FormatError struct{ Reason string }

func (e *FormatError) Error() string { return "not a PyTorch file: " + e.Reason }

func malformed(format string, a ...any) error { return &FormatError{fmt.Sprintf(format, a...)} }

func isMalformed(err error) bool {
	_, ok := errors.AsType[*FormatError](err)
	return ok
}

// Sniff reports whether a file that begins with head (32 bytes are enough) may
// be one of PyTorch's. It does not know a .distcp file that begins with
// something other than a zip; Parse does.
func Sniff(head []byte) bool {
	return bytes.HasPrefix(head, []byte(localSig)) || sniffLegacy(head)
}

// Parse reads the layout of a file of size bytes. The error is a *FormatError
// where it means that this is no file of PyTorch's; any other is the reader's.
func Parse(r io.ReaderAt, size int64) (*tensor.Layout, error) {
	f, err := open(r, size)
	if err != nil {
		return nil, err
	}
	return f.layout(size)
}

// file is what each format comes to: its storages, and the objects that were
// saved (more than one in a .distcp file).
type file struct {
	format  string
	extents []extent
	roots   []root
	taken   map[string]bool // names of extents
}

// root is an object that was saved, and what its tensors' names begin with.
type root struct {
	value
	path []string
}

// extent is a storage in the file, with the places of its CRC-32. It is opaque in an
// object of a class that is not known.
type extent struct {
	tensor.Info
	crcs   []int64
	opaque bool
}

func open(r io.ReaderAt, size int64) (*file, error) {
	head := make([]byte, min(32, max(size, 0)))
	if err := readAt(r, head, 0); err != nil {
		return nil, err
	}
	if sniffLegacy(head) {
		return openLegacy(r, size)
	}
	end, err := findFileEnd(r, size)
	switch {
	case err != nil:
		return nil, err
	case end.start == 0:
		return openZip(r, end)
	}
	return openDistcp(r, end)
}

func (f *file) layout(size int64) (*tensor.Layout, error) {
	slices.SortStableFunc(f.extents, func(a, b extent) int {
		return cmp.Or(cmp.Compare(a.Offset, b.Offset), cmp.Compare(a.Length, b.Length))
	})
	l := &tensor.Layout{Format: f.format, Size: size}
	for i, x := range f.extents {
		l.Tensors = append(l.Tensors, x.Info)
		if len(x.crcs) > 0 {
			slices.Sort(x.crcs)
			l.Sums = append(l.Sums, tensor.Sum{Tensor: i, Offsets: x.crcs})
		}
		if x.opaque {
			l.Opaque = append(l.Opaque, i)
		}
	}
	if err := l.Check(); err != nil {
		return nil, malformed("%v", err)
	}
	return l, nil
}
