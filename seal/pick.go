package seal

import (
	"bytes"
	"context"
	"crypto/sha256"
	"io"

	"excpfs/archive"
	"excpfs/decode"
	"excpfs/encode"
)

// verdict on a candidate.
type verdict int

const (
	worse  verdict = iota
	better         // than what was seen before, and than no base
	edited         // the file is this candidate with some tensors changed
)

// picker compares the candidates of one file.
type picker struct {
	profile     archive.Profile
	momentsOnly bool // needs no base in a lossy profile
	found       bool
	best        encode.Fit // before found: without a base
	seen        map[archive.ID]bool
}

func (l *Sealer) newPicker(ctx context.Context, u *unit) (*picker, error) {
	p := &picker{profile: l.o.Profile, momentsOnly: u.momentsOnly(), seen: map[archive.ID]bool{}}
	var err error
	if !p.lossy() {
		p.best, err = encode.Compare(ctx, u.src, u.layout, nil, p.profile)
	}
	return p, err
}

func (p *picker) lossy() bool { return p.profile.Name != encode.ProfileExact }

func (p *picker) weigh(ctx context.Context, u *unit, c *choice, previous bool) (verdict, error) {
	if p.lossy() && previous {
		if is, err := isEdited(ctx, u, c.opened); is || err != nil {
			return edited, err
		}
	}
	if c.base == nil || p.lossy() && p.momentsOnly || p.seen[c.base.Index().ID] {
		return worse, nil
	}
	p.seen[c.base.Index().ID] = true
	f, err := encode.Compare(ctx, u.src, u.layout, c.base, p.profile)
	if err != nil || !p.better(f) {
		return worse, err
	}
	p.best, p.found = f, true
	return better, nil
}

// worthADependency: what a base must save, of the size without, for one archive to need another.
const worthADependency = 0.01

// better: in a lossy profile the base decides the error and hardly the size, so the nearest
// is best, and only one that is near at all. A decoded file that came back is coded without loss
// against the base it was decoded with.
func (p *picker) better(f encode.Fit) bool {
	switch {
	case !p.lossy() && !p.found:
		return f.ExactBits < (1-worthADependency)*p.best.ExactBits
	case !p.lossy():
		return f.ExactBits < p.best.ExactBits
	case !(f.RMS <= encode.MaxBaseRMS): // also NaN
		return false
	case !p.found:
		return true
	case f.Quantized != p.best.Quantized:
		return f.Quantized
	}
	return f.RMS < p.best.RMS
}

// isEdited says whether a file has a tensor whose bytes are what a lossy archive made of
// another: it was thawed, and some of it changed. Only what loses nothing more will do for it.
// Behind an exact archive are the values of its base.
func isEdited(ctx context.Context, u *unit, f *decode.File) (bool, error) {
	for ; f != nil; f = f.Base() {
		for i, t := range f.Index().Tensors {
			if t.Error == 0 || i >= len(u.layout.Tensors) {
				continue
			}
			same, err := sameTensor(ctx, u, f, i)
			if same || err != nil {
				return same, err
			}
		}
		if f.Index().Profile.Name != encode.ProfileExact {
			break
		}
	}
	return false, nil
}

// probe is how much of a tensor is compared before its hash is taken.
const probe = 4 << 10 // bytes

// sameTensor compares tensor i of a file with that of an archive of the same schema.
func sameTensor(ctx context.Context, u *unit, f *decode.File, i int) (bool, error) {
	t, have := u.layout.Tensors[i], f.Index().Tensors[i]
	if t.Name != have.Name || t.Length != have.Length {
		return false, nil
	}
	a, b := make([]byte, min(probe, t.Length)), make([]byte, min(probe, t.Length))
	if err := f.ReadTensor(ctx, i, a, 0); err != nil {
		return false, err
	}
	if _, err := u.src.ReadAt(b, t.Offset); err != nil || !bytes.Equal(a, b) {
		return false, err
	}
	if t.Length <= probe {
		return true, nil
	}
	h := sha256.New()
	err := copyAll(ctx, h, io.NewSectionReader(u.src, t.Offset, t.Length))
	return err == nil && [16]byte(h.Sum(nil)[:16]) == have.Hash, err
}
