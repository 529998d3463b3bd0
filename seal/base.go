package seal

import (
	"context"
	"fmt"

	"excpfs/archive"
	"excpfs/decode"
	"excpfs/encode"
	"excpfs/store"
)

// choice is how a file will be encoded.
type choice struct {
	known   *archive.Reader // has just this content: to be copied
	profile archive.Profile
	base    *decode.File // nil: none
	hint    string       // path of base
	opened  *decode.File // base, or what it was reached through
}

func (c *choice) close() {
	if c.known != nil {
		c.known.Close()
	}
	if c.opened != nil {
		c.opened.Close()
	}
}

// choose looks for the content itself, where a copy will do, then for a base.
func (l *Sealer) choose(ctx context.Context, u *unit, reuse bool) (*choice, error) {
	if l.o.Base != "" {
		if c, err := l.givenBase(u); c != nil || err != nil {
			return c, err
		}
	}
	cands, err := l.s.Candidates(ctx, archive.ID(u.layout.Schema()), u.path())
	if err != nil {
		return nil, fmt.Errorf("seal %s: find a base: %w", u.path(), err)
	}
	if len(cands) == 0 {
		return &choice{profile: l.o.Profile}, nil
	}
	if reuse {
		if r, err := l.knownContent(ctx, u); err != nil {
			return nil, err
		} else if r != nil {
			return &choice{known: r}, nil
		}
	}
	return l.chooseBase(ctx, u, cands)
}

// knownContent finds an archive that decodes to the plain file. One that does not open is
// passed over: the file is encoded anew.
func (l *Sealer) knownContent(ctx context.Context, u *unit) (*archive.Reader, error) {
	sum, err := u.sum(ctx)
	if err != nil {
		return nil, err
	}
	id := archive.ID(sum[:16])
	if c, ok := l.s.Known(ctx, id); ok {
		if r, err := l.s.Archive(id, c.Path); err == nil {
			return r, nil
		}
	}
	return nil, nil
}

// givenBase is Options.Base where it has the schema of the file.
func (l *Sealer) givenBase(u *unit) (*choice, error) {
	r, err := l.s.OpenArchive(l.o.Base)
	if err != nil {
		return nil, fmt.Errorf("base %s: %w", l.o.Base, err)
	}
	if r.Index().Schema != archive.ID(u.layout.Schema()) {
		return nil, r.Close()
	}
	l.fitted = true
	f, err := decode.Open(r, l.s, l.cache)
	if err != nil {
		return nil, fmt.Errorf("base %s: %w", l.o.Base, err)
	}
	c := &choice{profile: l.o.Profile, opened: f}
	c.base, c.hint = allowed(f, l.o.Base, l.o.MaxDepth)
	return c, nil
}

// chooseBase measures the likeliest candidates and takes the best, or none.
func (l *Sealer) chooseBase(ctx context.Context, u *unit, cands []store.Candidate) (*choice, error) {
	best := &choice{profile: l.o.Profile}
	p, err := l.newPicker(ctx, u)
	if err != nil {
		return nil, err
	}
	for _, cand := range rank(cands, u.path()) {
		c := l.openCandidate(cand.Candidate)
		if c == nil {
			continue
		}
		v, err := p.weigh(ctx, u, c, cand.previous)
		switch {
		case err != nil && !unreadable(err):
			c.close()
			best.close()
			return nil, err
		case err == nil && v == edited:
			best.close()
			c.profile = archive.Profile{Name: encode.ProfileExact}
			return c, nil
		case err == nil && v == better:
			best, c = c, best
		}
		c.close()
	}
	return best, nil
}

// openCandidate gives nil for one that cannot be opened: there are others, or none is needed.
func (l *Sealer) openCandidate(cand store.Candidate) *choice {
	r, err := l.s.Archive(cand.Summary.ID, cand.Path)
	if err != nil {
		return nil
	}
	f, err := decode.Open(r, l.s, l.cache)
	if err != nil {
		return nil
	}
	c := &choice{profile: l.o.Profile, opened: f}
	c.base, c.hint = allowed(f, cand.Path, l.o.MaxDepth)
	return c
}

// allowed is the file, or its nearest ancestor, that is not too deep to be a base; nil: there is none.
func allowed(f *decode.File, hint string, maxDepth int) (*decode.File, string) {
	for f != nil && int(f.Index().Depth) >= maxDepth {
		hint = baseHint(f)
		f = f.Base()
	}
	return f, hint
}

// baseHint is where the base of a file was.
func baseHint(f *decode.File) string {
	if f != nil {
		for _, d := range f.Index().Deps {
			if d.Role == archive.RoleBase {
				return d.Hint
			}
		}
	}
	return ""
}
