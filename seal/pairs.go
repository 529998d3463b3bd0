package seal

import (
	"cmp"
	"context"
	"io"
	"path"
	"slices"
	"sync"

	"excpfs/archive"
	"excpfs/encode"
	"excpfs/pair"
	"excpfs/store"
	"excpfs/tensor"
	"excpfs/torchfile"
)

// pairs names the weights of a file's moments, by the keys the moments are named after. They are
// looked for once a job, and not before they are asked for: a base is chosen on the way for files
// with the weights, and a file of the job whose turn is yet to come may find a nearer one then.
func (f *folder) pairs(ctx context.Context, file string) map[string]string {
	f.pairing.Lock()
	defer f.pairing.Unlock()
	if f.paired == nil {
		f.paired, f.party = map[string]map[string]string{}, f.parties(ctx)
	}
	if _, ok := f.paired[file]; !ok {
		f.paired[file] = nil
		for _, p := range f.party {
			if p.path == file {
				f.pair(ctx, p, f.party)
			}
		}
	}
	return f.paired[file]
}

// party is a tensor file of the checkpoint, as far as pairing needs it.
type party struct {
	path    string
	src     io.ReaderAt
	layout  *tensor.Layout
	changes func(i int) encode.Elements // residual of a tensor; nil where there is none
	close   func()
}

// parties are the files of the job, then those beside them until there are weights enough for the moments.
func (f *folder) parties(ctx context.Context) (all []*party) {
	var weights, moments int64 // elements
	add := func(p *party) {
		w, m := p.elements()
		weights, moments, all = weights+w, moments+m, append(all, p)
	}
	mine := f.mine()
	for _, u := range f.units {
		add(f.ofUnit(ctx, u))
	}
	for _, s := range f.siblings() {
		if moments > 0 && weights >= moments || len(all) >= maxParties {
			break
		}
		if mine[s.path()] {
			continue
		}
		if p := f.ofSibling(s); p != nil {
			add(p)
		}
	}
	return all
}

// maxParties is how many files are looked at for pairing, at most.
const maxParties = 256

// elements of the weights of a file, and of its first moments.
func (p *party) elements() (weights, moments int64) {
	for _, t := range p.layout.Tensors {
		switch role, _ := tensor.RoleOf(t.Name); {
		case role == tensor.ExpAvg:
			moments += t.Elems()
		case isWeight(t):
			weights += t.Elems()
		}
	}
	return weights, moments
}

// isWeight says whether a tensor may be the weight of some moments.
func isWeight(t tensor.Info) bool {
	role, _ := tensor.RoleOf(t.Name)
	return role == tensor.Weight && t.DType.Lossy() && !tensor.OptimizerState(t.Name)
}

func (f *folder) ofUnit(ctx context.Context, u *unit) *party {
	changes := sync.OnceValue(func() func(int) encode.Elements {
		c, err := f.choice(ctx, u)
		if err != nil {
			return encode.Changes(u.src, u.layout, nil)
		}
		return encode.Changes(u.src, u.layout, c.base)
	})
	return &party{u.path(), u.src, u.layout, func(i int) encode.Elements { return changes()(i) }, func() {}}
}

// ofSibling is nil for a file that is no tensor file or cannot be read.
func (f *folder) ofSibling(s held) *party {
	if s.form == store.Sealed {
		return f.ofSealed(s.path())
	}
	src, l, err := peek(s.dir, s.name)
	if err != nil {
		return nil
	}
	return &party{s.path(), src, l, func(int) encode.Elements { return nil }, func() { src.Close() }}
}

func (f *folder) ofSealed(p string) *party {
	w := f.decoded(p)
	if w == nil {
		return nil
	}
	return &party{p, w, w.Index().Layout(), func(i int) encode.Elements { return encode.Residuals(w, i) }, func() { w.Close() }}
}

// pair finds the weights of one file's moments, its own and the other files'. A file that
// cannot be read is shrunk without them.
func (f *folder) pair(ctx context.Context, p *party, parties []*party) {
	groups := p.groups()
	if len(groups) == 0 {
		return
	}
	var weights []pair.Weight
	have := map[string]bool{}
	others := kinFirst(parties, path.Base(p.path), func(q *party) string { return path.Base(q.path) })
	for _, q := range slices.Concat([]*party{p}, others) {
		weights = q.weights(weights, have)
	}
	if len(weights) == 0 {
		return
	}
	found, err := pair.Find(ctx, weights, groups, f.remembered(ctx, p))
	if err != nil {
		f.l.o.Log.Warn("moments not paired with weights", "file", p.path, "error", err)
		return
	}
	f.paired[p.path] = found.Weights
	based := slices.ContainsFunc(weights, func(w pair.Weight) bool { return w.Residual != nil })
	if n := len(found.Declined); n > 0 && based { // without a base there is nothing to pair for
		f.l.o.Log.Info("moments without a weight", "file", p.path, "parameters", n,
			"first", found.Declined[0].Key, "reason", found.Declined[0].Reason)
	}
}

// weights adds those of the file whose names are not yet there.
func (p *party) weights(all []pair.Weight, have map[string]bool) []pair.Weight {
	for i, t := range p.layout.Tensors {
		if !isWeight(t) || have[t.Name] {
			continue
		}
		w := pair.Weight{Name: t.Name, DType: t.DType, Shape: t.Shape}
		if read := p.changes(i); read != nil {
			w.Residual = pair.Reader(read)
		}
		all = append(all, w)
		have[t.Name] = true
	}
	return all
}

// groups are the parameters that the file has both moments of, as its optimizers group
// them, or all in one where none says so.
func (p *party) groups() []pair.Group {
	params := p.params()
	if len(params) == 0 {
		return nil
	}
	var out []pair.Group
	optimizers, _ := torchfile.Optimizers(p.src, p.layout.Size)
	for _, o := range optimizers {
		for _, g := range o.Groups {
			var group pair.Group
			for k, id := range g.Params {
				key := id
				if o.Path != "" { // as the moments' names have it
					_, key = tensor.RoleOf(o.Path + ".state." + id + "." + tensor.ExpAvg.String())
				}
				param, ok := params[key]
				if !ok {
					param.Key = key // a parameter that never had a gradient keeps its place
				}
				if len(g.Names) == len(g.Params) {
					param.Name = g.Names[k]
				}
				delete(params, key)
				group = append(group, param)
			}
			out = append(out, group)
		}
	}
	return append(out, rest(params)...)
}

// rest is a group of what no optimizer's group lists, in natural order.
func rest(params map[string]pair.Param) []pair.Group {
	var group pair.Group
	for _, p := range params {
		group = append(group, p)
	}
	if group == nil {
		return nil
	}
	slices.SortFunc(group, func(a, b pair.Param) int { return cmp.Or(natural(a.Key, b.Key), cmp.Compare(a.Key, b.Key)) })
	return []pair.Group{group}
}

// params are the parameters that the file has both moments of, by key.
func (p *party) params() map[string]pair.Param {
	all := map[string]pair.Param{}
	for _, t := range p.layout.Tensors {
		role, key := tensor.RoleOf(t.Name)
		if role == tensor.Weight || !t.DType.Lossy() {
			continue
		}
		param := all[key]
		param.Key, param.Shape = key, t.Shape
		if read := pair.Reader(encode.Values(p.src, t)); role == tensor.ExpAvg {
			param.ExpAvg = read
		} else {
			param.ExpAvgSq = read
		}
		all[key] = param
	}
	for key, param := range all {
		if param.ExpAvg == nil || param.ExpAvgSq == nil {
			delete(all, key)
		}
	}
	return all
}

// remembered is the pairing of earlier files of the same schema, the nearest first: their masks name the weights.
func (f *folder) remembered(ctx context.Context, p *party) map[string]string {
	cands, err := f.l.s.Candidates(ctx, archive.ID(p.layout.Schema()), p.path)
	if err != nil {
		return nil
	}
	known, taken := map[string]string{}, map[string]bool{}
	for _, c := range rank(cands, p.path) {
		r, err := f.l.s.Archive(c.Summary.ID, c.Path)
		if err != nil {
			continue
		}
		for key, weight := range masks(r.Index()) {
			if known[key] == "" && !taken[weight] {
				known[key], taken[weight] = weight, true
			}
		}
		r.Close()
	}
	return known
}

// masks are the weights whose residuals mask an archive's moments, by the moments' key.
func masks(ix *archive.Index) map[string]string {
	known := map[string]string{}
	for _, t := range ix.Tensors {
		if role, key := tensor.RoleOf(t.Name); role != tensor.Weight && t.Mask != "" {
			known[key] = t.Mask
		}
	}
	return known
}
