package seal

import (
	"cmp"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"excpfs/store"
	"excpfs/tensor"
	"excpfs/torchfile"
)

// neighbour opens another file of the folder that a file is in. The caller closes it.
type neighbour func(name string) (src source, size int64, err error)

func storeBeside(d *store.Dir) neighbour {
	return func(name string) (source, int64, error) {
		h, err := d.Open(name, unix.O_RDONLY)
		if err != nil {
			return nil, 0, err
		}
		a, err := h.Attr()
		if err != nil {
			h.Release()
			return nil, 0, err
		}
		return handle{h}, int64(a.Size), nil
	}
}

func hostBeside(dir string) neighbour {
	return func(name string) (source, int64, error) {
		f, err := os.Open(filepath.Join(dir, name))
		if err != nil {
			return nil, 0, err
		}
		info, err := f.Stat()
		if err != nil {
			f.Close()
			return nil, 0, err
		}
		return f, info.Size(), nil
	}
}

// optimizersLast orders what lies in a folder so that the weights of FSDP's folders are sealed before
// the moments, which lie in optimizer_0 beside pytorch_model_fsdp_0.
func optimizersLast[T any](items []T, name func(T) string) []T {
	last := func(v T) int {
		if strings.HasPrefix(name(v), "optim") {
			return 1
		}
		return 0
	}
	items = slices.Clone(items)
	slices.SortStableFunc(items, func(a, b T) int { return cmp.Compare(last(a), last(b)) })
	return items
}

// named is the layout of a .distcp file with the names that the checkpoint's metadata gives. Without
// them, what is a weight and what a moment is not known: everything stays as it is.
func named(src io.ReaderAt, l *tensor.Layout, name string, beside neighbour) (*tensor.Layout, error) {
	meta, size, err := beside(dcpMetadata)
	if err != nil {
		return l, nil
	}
	defer meta.Close()
	files, err := torchfile.Metadata(meta, size)
	if err != nil {
		return l, nil
	}
	if better, err := torchfile.ParseNamed(src, l.Size, files[name]); err == nil {
		return better, nil
	}
	return l, nil
}
