package seal

import (
	"cmp"
	"context"

	"excpfs/encode"
	"excpfs/store"
	"excpfs/tensor"
)

// second is one file's means of exp_avg_sq, by what they are named after.
type second struct {
	path  string
	means func(ctx context.Context) (map[string]float64, error)
}

// meanSquares is encode.Input.MeanSq for the files of the folder. Siblings are read only
// when they are asked for: those of the job, then sealed ones, then plain ones.
func (f *folder) meanSquares(ctx context.Context) func(string) (float64, bool) {
	return func(weight string) (float64, bool) {
		f.mu.Lock()
		defer f.mu.Unlock()
		if !f.started {
			f.started, f.means, f.pending = true, map[string]float64{}, f.sources()
		}
		for {
			if m, ok := f.means[weight]; ok || len(f.pending) == 0 {
				return m, ok
			}
			f.gather(ctx)
		}
	}
}

// gather takes in one more source. One that fails has nothing to say: the moments only
// guide what of the weights is kept.
func (f *folder) gather(ctx context.Context) {
	s := f.pending[0]
	f.pending = f.pending[1:]
	means, err := s.means(ctx)
	if err != nil || len(means) == 0 {
		return
	}
	pairs := f.pairs(ctx, s.path)
	for key, m := range means {
		w := cmp.Or(pairs[key], key)
		if _, ok := f.means[w]; !ok {
			f.means[w] = m
		}
	}
}

func (f *folder) sources() []second {
	var job, sealed, plain []second
	for _, u := range f.units {
		job = append(job, second{u.path(), func(ctx context.Context) (map[string]float64, error) {
			return encode.MeanSquares(ctx, u.src, u.layout)
		}})
	}
	mine := f.mine()
	for _, s := range f.siblings() {
		p := s.path()
		switch {
		case mine[p]:
		case s.form == store.Sealed:
			sealed = append(sealed, second{p, func(context.Context) (map[string]float64, error) { return f.recorded(p), nil }})
		default:
			plain = append(plain, second{p, func(ctx context.Context) (map[string]float64, error) { return meansOf(ctx, s) }})
		}
	}
	return append(append(job, sealed...), plain...)
}

// meansOf reads a plain file that is not of the job.
func meansOf(ctx context.Context, s held) (map[string]float64, error) {
	src, layout, err := peek(s.dir, s.name)
	if err != nil {
		return nil, err
	}
	defer src.Close()
	return encode.MeanSquares(ctx, src, layout)
}

// recorded are the means that a sealed sibling was made with.
func (f *folder) recorded(p string) map[string]float64 {
	means := map[string]float64{}
	if ix := f.index(p); ix != nil {
		for _, t := range ix.Tensors {
			if role, w := tensor.RoleOf(t.Name); role == tensor.ExpAvgSq && t.Mean > 0 {
				means[w] = t.Mean
			}
		}
	}
	return means
}
