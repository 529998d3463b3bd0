package seal

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"excpfs/archive"
	"excpfs/decode"
	"excpfs/encode"
)

// minSaving: an archive that saves less of the file is not worth having.
const minSaving = 0.02

// draft is a finished archive in the store's tmp: verified and synced, without a name.
type draft struct {
	temp *os.File
	size int64
}

// draft makes the archive of a file: a copy of one of the same content, or a new one.
// Damage in another archive costs its help, not the seal.
func (l *Sealer) draft(ctx context.Context, f *folder, u *unit) (*draft, error) {
	c, err := f.choice(ctx, u)
	if err != nil {
		return nil, err
	}
	if c.known != nil {
		d, err := l.write(ctx, u, true, func(w *archive.Writer) (*archive.Index, error) { return copyArchive(c.known, w) })
		if err == nil || !unreadable(err) {
			return d, err
		}
		if c, err = l.choose(ctx, u, false); err != nil {
			return nil, err
		}
		defer c.close()
	}
	d, err := l.encode(ctx, u, l.input(ctx, f, u, c))
	if _, damaged := errors.AsType[*archive.DamageError](err); damaged {
		d, err = l.encode(ctx, u, encode.Input{Profile: c.profile})
	}
	if own, ok := errors.AsType[*encode.OwnBaseError](err); ok {
		return l.copy(ctx, u, own.Dep, c.profile)
	}
	return d, err
}

// copy makes the archive of a file that decodes to what another is.
func (l *Sealer) copy(ctx context.Context, u *unit, of archive.Dep, p archive.Profile) (*draft, error) {
	r, err := l.s.Archive(of.ID, of.Hint)
	if err != nil {
		return nil, fmt.Errorf("seal %s: %w", u.path(), err)
	}
	defer r.Close()
	return l.write(ctx, u, p.Name == encode.ProfileExact, func(w *archive.Writer) (*archive.Index, error) { return copyArchive(r, w) })
}

// unreadable: another archive is to blame.
func unreadable(err error) bool {
	_, damaged := errors.AsType[*archive.DamageError](err)
	_, missing := errors.AsType[*archive.MissingError](err)
	return damaged || missing
}

// input is what other archives give for the encoding of a file.
func (l *Sealer) input(ctx context.Context, f *folder, u *unit, c *choice) encode.Input {
	in := encode.Input{Profile: c.profile, Base: c.base, BaseHint: c.hint}
	if in.Profile.Name != encode.ProfileExact {
		in.MeanSq = f.meanSquares(ctx)
		in.Pairs = f.pairs(ctx, u.path())
		in.Weights = f.weights(u, in.Pairs)
	}
	return in
}

// encode takes over in.Weights.
func (l *Sealer) encode(ctx context.Context, u *unit, in encode.Input) (*draft, error) {
	in.Name, in.Src, in.Layout = u.path(), u.src, u.layout
	in.Workers, in.Worker = l.o.Workers, l.worker()
	for _, w := range in.Weights {
		defer w.Close()
	}
	return l.write(ctx, u, in.Profile.Name == encode.ProfileExact, func(w *archive.Writer) (*archive.Index, error) {
		return encode.Encode(ctx, in, w)
	})
}

// write fills a temporary file and proves it. lossless: it must decode to the plain file.
func (l *Sealer) write(ctx context.Context, u *unit, lossless bool, blocks func(*archive.Writer) (*archive.Index, error)) (*draft, error) {
	temp, err := l.s.Temp()
	if err != nil {
		return nil, fmt.Errorf("seal %s: %w", u.path(), err)
	}
	d := &draft{temp: temp}
	ix, err := l.fill(u, d, blocks)
	switch {
	case err != nil:
	case float64(d.size) > (1-minSaving)*float64(u.layout.Size):
		err = stays("saves less than 2 %")
	default:
		err = l.prove(ctx, u, d, ix, lossless)
	}
	if err == nil {
		err = temp.Sync()
	}
	if err != nil {
		l.s.Discard(temp)
		return nil, err
	}
	return d, nil
}

func (l *Sealer) fill(u *unit, d *draft, blocks func(*archive.Writer) (*archive.Index, error)) (*archive.Index, error) {
	buf := bufio.NewWriterSize(d.temp, 1<<20)
	w, err := archive.NewWriterFor(buf, u.layout.Format)
	if err != nil {
		return nil, err
	}
	ix, err := blocks(w)
	if err != nil {
		return nil, err
	}
	t, err := u.trailer(d.temp)
	if err != nil {
		return nil, err
	}
	if err := w.Finish(ix, t); err != nil {
		return nil, err
	}
	d.size = w.Size()
	return ix, buf.Flush()
}

// prove decodes the archive and compares the hashes it holds, which are those of the
// encoder's reconstruction; in a lossless one the file's must be that of the plain file.
func (l *Sealer) prove(ctx context.Context, u *unit, d *draft, ix *archive.Index, lossless bool) error {
	r, err := archive.Open(io.NewSectionReader(d.temp, 0, d.size), d.size, u.path())
	if err != nil {
		return err
	}
	f, err := decode.Open(r, l.s, l.cache)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := f.VerifyWith(ctx, l.o.Workers, l.worker(), func(error) {}); err != nil || !lossless {
		return err
	}
	sum, err := u.sum(ctx)
	if err == nil && sum != f.Index().Hash {
		err = fmt.Errorf("seal %s: the archive does not decode to the file", u.path())
	}
	return err
}
