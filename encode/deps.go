package encode

import (
	"context"
	"fmt"
	"math"
	"slices"

	"excpfs/archive"
)

// OwnBaseError is returned when a file turns out to be, or to decode to, what it was to
// be encoded against: it needs no second archive, and cannot have itself for a base.
type OwnBaseError struct{ archive.Dep }

func (e *OwnBaseError) Error() string { return "the file has the content of its own base " + e.Hint }

// finish completes the index: what each tensor needs, errors, hashes.
//
// The depth counts archives under each other: one more than the base's. A mask needs
// the weights decoded, and their base, so moments are at least as deep as the weights.
func (o *output) finish(ctx context.Context) (*archive.Index, error) {
	ix, e := o.ix, o.e
	base, weights := -1, map[int]int{} // dependencies, those of in.Weights by their place
	for i := range ix.Tensors {
		p, err := e.plan(ctx, i)
		if err != nil {
			return nil, err
		}
		a := &ix.Tensors[i]
		a.Method, a.Mask, a.Support = uint8(p.method), p.mask, p.support
		if p.base && base < 0 {
			base = o.dep(archive.RoleBase, e.in.Base.Index(), e.in.BaseHint, 1)
		}
		if p.base {
			a.Base = base
		}
	}
	for i := range ix.Tensors {
		p, err := e.plan(ctx, i)
		if err != nil {
			return nil, err
		}
		if p.sibling < 0 {
			continue
		}
		w, ok := weights[p.sibling]
		if !ok {
			s := e.in.Weights[p.sibling]
			w = o.dep(archive.RoleWeights, s.Index(), s.Hint, 0)
			o.dep(archive.RoleWeightsBase, s.Base().Index(), s.BaseHint, 1)
			weights[p.sibling] = w
		}
		ix.Tensors[i].Weights = w
	}
	if ix.Depth == math.MaxUint8 {
		return nil, fmt.Errorf("the chain is too deep")
	}
	for role := range ix.Error {
		ix.Error[role] = math.NaN()
		if o.seen[role] {
			ix.Error[role] = o.roles[role].relative()
		}
	}
	o.sum.Sum(ix.Hash[:0])
	ix.ID = archive.ID(ix.Hash[:16])
	if i := slices.IndexFunc(ix.Deps, func(d archive.Dep) bool { return d.ID == ix.ID }); i >= 0 {
		return nil, &OwnBaseError{ix.Deps[i]}
	}
	return ix, nil
}

// dep records a dependency; this archive is at least more deeper than it.
func (o *output) dep(role archive.Role, on *archive.Index, hint string, more uint8) int {
	o.ix.Deps = append(o.ix.Deps, archive.Dep{Role: role, ID: on.ID, Hint: hint})
	o.ix.Depth = max(o.ix.Depth, uint8(min(int(on.Depth)+int(more), math.MaxUint8)))
	return len(o.ix.Deps) - 1
}
