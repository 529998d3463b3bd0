package seal

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"slices"

	"golang.org/x/sys/unix"

	"excpfs/archive"
	"excpfs/encode"
	"excpfs/safetensors"
	"excpfs/store"
	"excpfs/tensor"
	"excpfs/torchfile"
)

// minSize is the size of the smallest file that is worth an archive.
const minSize = 64 << 10

// stays is why a file stays plain: nothing went wrong.
type stays string

func (s stays) Error() string { return string(s) }

// unit is one tensor file on its way to an archive.
type unit struct {
	dir    *store.Dir // where the archive goes
	name   string
	src    source
	layout *tensor.Layout
	mtime  int64 // nanoseconds
	// trailer is the fixed end of the archive in temp, and finish gives it its name.
	trailer func(temp *os.File) (archive.Trailer, error)
	finish  func(temp *os.File) error

	pending store.Pending // of a file in the store
	hash    *[32]byte     // of src, once it is known
}

// source is a plain file, open.
type source interface {
	io.ReaderAt
	io.Closer
}

// path of the file as users see it.
func (u *unit) path() string { return path.Join(u.dir.Path(), u.name) }

func pathOf(p store.Pending) string { return path.Join(p.Dir.Path(), p.Name) }

// parse reads the layout of a file; the error is stays where it has none or is not worth it.
func parse(src io.ReaderAt, size int64, name string, beside neighbour) (*tensor.Layout, error) {
	if size < minSize {
		return nil, stays("under 64 KiB")
	}
	l, err := safetensors.Parse(src, size)
	no, ok := errors.AsType[*safetensors.FormatError](err)
	if !ok {
		return l, err
	}
	l, err = torchfile.Parse(src, size)
	if err == nil && l.Format == torchfile.FormatDistcp {
		l, err = named(src, l, name, beside)
	}
	if not, ok := errors.AsType[*torchfile.FormatError](err); ok {
		return nil, stays("not a tensor file: " + reason(src, no.Reason, not.Reason))
	}
	if err == nil && len(l.Tensors) == 0 {
		return nil, stays("a PyTorch file without tensors")
	}
	return l, err
}

// reason is why a file is no tensor file, by what it looks like.
func reason(src io.ReaderAt, safetensors, torch string) string {
	head := make([]byte, 32)
	n, _ := src.ReadAt(head, 0)
	if torchfile.Sniff(head[:n]) {
		return torch
	}
	return safetensors
}

// open makes a unit of a pending file.
func (l *Sealer) open(p store.Pending) (*unit, error) {
	src, id, err := l.s.OpenPlain(p)
	if err != nil {
		return nil, err
	}
	layout, err := parse(src, id.Size, p.Name, storeBeside(p.Dir))
	if err == nil && linked(src) {
		err = stays("more than one hard link")
	}
	if err == nil && l.s.Written(src) {
		err = store.ErrBusy // by somebody outside the mount
	}
	if err != nil {
		src.Close()
		return nil, err
	}
	u := &unit{dir: p.Dir, name: p.Name, src: src, layout: layout, mtime: id.Mtime, pending: p}
	u.trailer = func(temp *os.File) (archive.Trailer, error) { return l.s.NewIdentity(src, temp) }
	u.finish = func(temp *os.File) error { return l.s.Swap(p, id, temp) }
	return u, nil
}

// peek reads the layout of any plain file of the store. The caller closes the source.
func peek(d *store.Dir, name string) (source, *tensor.Layout, error) {
	beside := storeBeside(d)
	src, size, err := beside(name)
	if err != nil {
		return nil, nil, err
	}
	var layout *tensor.Layout
	if src.(handle).Sealed() {
		err = unix.EINVAL
	} else {
		layout, err = parse(src, size, name, beside)
	}
	if err != nil {
		src.Close()
		return nil, nil, err
	}
	return src, layout, nil
}

// handle is a source.
type handle struct{ *store.Handle }

func (h handle) Close() error {
	h.Release()
	return nil
}

func linked(f *os.File) bool {
	var st unix.Stat_t
	return unix.Fstat(int(f.Fd()), &st) == nil && st.Nlink > 1
}

// place gives a finished archive the unit's name.
func (u *unit) place(d *draft) error {
	err := u.finish(d.temp)
	if errors.Is(err, unix.ENAMETOOLONG) {
		return stays("its name is too long for that of an archive")
	}
	return err
}

// sum is the SHA-256 of the plain file.
func (u *unit) sum(ctx context.Context) ([32]byte, error) {
	if u.hash == nil {
		h := sha256.New()
		if err := copyAll(ctx, h, io.NewSectionReader(u.src, 0, u.layout.Size)); err != nil {
			return [32]byte{}, fmt.Errorf("hash %s: %w", u.path(), err)
		}
		u.hash = (*[32]byte)(h.Sum(nil))
	}
	return *u.hash, nil
}

// copyAll is io.Copy that the context ends. It reads the source in large pieces.
func copyAll(ctx context.Context, w io.Writer, r io.Reader) error {
	buf := make([]byte, 1<<20)
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := io.ReadFull(r, buf)
		if _, werr := w.Write(buf[:n]); werr != nil {
			return werr
		}
		switch err {
		case nil:
		case io.EOF, io.ErrUnexpectedEOF:
			return nil
		default:
			return err
		}
	}
}

// weightsFirst orders the files of a job: moments are coded inside the residual mask of the
// weights, so files with weights come first, whatever the order they were written in.
func weightsFirst(a, b *unit) int {
	return cmp.Or(cmp.Compare(rankOf(a), rankOf(b)), natural(a.name, b.name))
}

func rankOf(u *unit) int {
	if u.momentsOnly() {
		return 1
	}
	return 0
}

// momentsOnly: there are moments, and no weights that could be residuals. Step counters
// and the like may be beside them.
func (u *unit) momentsOnly() bool {
	moments := false
	for _, t := range u.layout.Tensors {
		switch r, _ := tensor.RoleOf(t.Name); {
		case r != tensor.Weight:
			moments = true
		case encode.LossyWeight(t):
			return false
		}
	}
	return moments
}

// looksLikeTensors tells a tensor file that is being written from a log. Of an empty
// file only the name tells anything.
func (l *Sealer) looksLikeTensors(p store.Pending) bool {
	src, id, err := l.s.OpenPlain(p)
	if err != nil {
		return false
	}
	defer src.Close()
	head := make([]byte, 32)
	n, _ := src.ReadAt(head, 0)
	if n < len(head) {
		return slices.Contains(suffixes, path.Ext(p.Name))
	}
	return safetensors.Sniff(head, id.Size) || torchfile.Sniff(head)
}

// suffixes of tensor files.
var suffixes = []string{".safetensors", ".pt", ".pth", ".bin", ".ckpt", ".distcp"}
