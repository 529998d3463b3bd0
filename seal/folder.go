package seal

import (
	"context"
	"path"
	"slices"
	"sync"

	"golang.org/x/sys/unix"

	"excpfs/archive"
	"excpfs/decode"
	"excpfs/encode"
	"excpfs/store"
	"excpfs/tensor"
)

// folder is where the files of a job find each other: the weights of moments, and the
// second moments of weights.
type folder struct {
	l     *Sealer
	units []*unit // of the job

	mu      sync.Mutex
	means   map[string]float64 // of exp_avg_sq, by weight
	pending []second           // not yet in means
	started bool
	indexes map[string]*archive.Index // of sealed siblings, by name
}

// second gives the means of exp_avg_sq in one file, by weight.
type second func(ctx context.Context) (map[string]float64, error)

func (f *folder) close() {
	for _, u := range f.units {
		u.src.Close()
	}
}

// meanSquares is encode.Input.MeanSq for one file of the folder. Siblings are read only
// when they are asked for: those of the job, then sealed ones, then plain ones.
func (f *folder) meanSquares(ctx context.Context, u *unit) func(string) (float64, bool) {
	return func(weight string) (float64, bool) {
		f.mu.Lock()
		defer f.mu.Unlock()
		if !f.started {
			f.started, f.means, f.pending = true, map[string]float64{}, f.sources(u.dir)
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
	means, err := f.pending[0](ctx)
	f.pending = f.pending[1:]
	if err != nil {
		return
	}
	for w, m := range means {
		if _, ok := f.means[w]; !ok {
			f.means[w] = m
		}
	}
}

func (f *folder) sources(d *store.Dir) []second {
	var job, sealed, plain []second
	mine := map[string]bool{}
	for _, u := range f.units {
		mine[u.name] = true
		job = append(job, func(ctx context.Context) (map[string]float64, error) {
			return encode.MeanSquares(ctx, u.src, u.layout)
		})
	}
	for _, s := range siblings(d) {
		switch name := s.name; {
		case mine[name]:
		case s.form == store.Sealed:
			sealed = append(sealed, func(context.Context) (map[string]float64, error) { return f.recorded(d, name), nil })
		default:
			plain = append(plain, func(ctx context.Context) (map[string]float64, error) { return meansOf(ctx, d, name) })
		}
	}
	return append(append(job, sealed...), plain...)
}

// held is a name and how the file is held.
type held struct {
	name string
	form store.Form
}

// siblings lists the regular files of a folder in natural order.
func siblings(d *store.Dir) []held {
	entries, err := d.ReadDir()
	if err != nil {
		return nil
	}
	var out []held
	for _, de := range entries {
		if de.Mode&unix.S_IFMT != unix.S_IFREG {
			continue
		}
		if e, err := d.Lookup(de.Name); err == nil {
			out = append(out, held{de.Name, e.Form})
		}
	}
	slices.SortFunc(out, func(a, b held) int { return natural(a.name, b.name) })
	return out
}

// meansOf reads a plain file that is not of the job.
func meansOf(ctx context.Context, d *store.Dir, name string) (map[string]float64, error) {
	src, layout, err := peek(d, name)
	if err != nil {
		return nil, err
	}
	defer src.Close()
	return encode.MeanSquares(ctx, src, layout)
}

// recorded are the means that a sealed sibling was made with.
func (f *folder) recorded(d *store.Dir, name string) map[string]float64 {
	means := map[string]float64{}
	if ix := f.index(d, name); ix != nil {
		for _, t := range ix.Tensors {
			if role, w := tensor.RoleOf(t.Name); role == tensor.ExpAvgSq && t.Mean > 0 {
				means[w] = t.Mean
			}
		}
	}
	return means
}

// index of a sealed sibling, or nil.
func (f *folder) index(d *store.Dir, name string) *archive.Index {
	if ix, ok := f.indexes[name]; ok {
		return ix
	}
	r, err := f.l.s.OpenArchive(path.Join(d.Path(), name))
	if err != nil {
		return nil
	}
	defer r.Close()
	if f.indexes == nil {
		f.indexes = map[string]*archive.Index{}
	}
	f.indexes[name] = r.Index()
	return r.Index()
}

// weights finds the sealed sibling that holds most of the weights of a file of moments, and its path.
func (f *folder) weights(u *unit) (*decode.File, string) {
	if !u.momentsOnly() {
		return nil, ""
	}
	best := f.mostWeights(u)
	if best == "" {
		return nil, ""
	}
	hint := path.Join(u.dir.Path(), best)
	r, err := f.l.s.OpenArchive(hint)
	if err != nil {
		return nil, ""
	}
	w, err := decode.Open(r, f.l.s, f.l.cache)
	if err != nil {
		return nil, ""
	}
	return w, hint
}

func (f *folder) mostWeights(u *unit) (best string) {
	shapes, most := u.momentShapes(), int64(0)
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, s := range siblings(u.dir) {
		if s.form != store.Sealed || s.name == u.name {
			continue
		}
		if n := covered(f.index(u.dir, s.name), shapes); n > most {
			best, most = s.name, n
		}
	}
	return best
}

// momentShapes are the shapes of the moments by weight.
func (u *unit) momentShapes() map[string][]int64 {
	shapes := map[string][]int64{}
	for _, t := range u.layout.Tensors {
		if role, w := tensor.RoleOf(t.Name); role != tensor.Weight {
			shapes[w] = t.Shape
		}
	}
	return shapes
}

// covered is the number of elements of the weights that an archive holds.
func covered(ix *archive.Index, shapes map[string][]int64) (n int64) {
	if ix == nil {
		return 0
	}
	for _, t := range ix.Tensors {
		role, _ := tensor.RoleOf(t.Name)
		if shape, ok := shapes[t.Name]; ok && role == tensor.Weight && slices.Equal(shape, t.Shape) {
			n += t.Elems()
		}
	}
	return n
}
