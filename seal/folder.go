package seal

import (
	"cmp"
	"context"
	"path"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"excpfs/archive"
	"excpfs/decode"
	"excpfs/store"
)

// folder is where the files of a job find each other: the weights of moments, and the
// second moments of weights.
type folder struct {
	l     *Sealer
	dir   *store.Dir
	units []*unit // of the job

	mu      sync.Mutex
	means   map[string]float64 // of exp_avg_sq, by weight
	pending []second           // not yet in means
	started bool
	indexes map[string]*archive.Index // of sealed siblings, by path

	pairing sync.Mutex
	party   []*party                     // all files, once the first pairs are looked for
	paired  map[string]map[string]string // pairs by path, as far as they were asked for

	choosing sync.Mutex
	choices  map[*unit]*choice

	around func() []*store.Dir // the folders of the checkpoint, once a job
	others []*store.Dir        // those that are not dir
}

func (l *Sealer) folder(d *store.Dir) *folder {
	f := &folder{l: l, dir: d}
	f.around = sync.OnceValue(f.findAround)
	return f
}

func (f *folder) close() {
	for _, p := range f.party {
		p.close()
	}
	for _, c := range f.choices {
		c.close()
	}
	for _, u := range f.units {
		u.src.Close()
	}
	for _, d := range f.others {
		d.Release()
	}
}

// mine are the files of the job, by path.
func (f *folder) mine() map[string]bool {
	all := map[string]bool{}
	for _, u := range f.units {
		all[u.path()] = true
	}
	return all
}

// choice is how a file of the job will be encoded: chosen once, for pairing may ask before its turn.
func (f *folder) choice(ctx context.Context, u *unit) (*choice, error) {
	f.choosing.Lock()
	defer f.choosing.Unlock()
	if c, ok := f.choices[u]; ok {
		return c, nil
	}
	c, err := f.l.choose(ctx, u, true)
	if err != nil {
		return nil, err
	}
	if f.choices == nil {
		f.choices = map[*unit]*choice{}
	}
	f.choices[u] = c
	return c, nil
}

// dcpMetadata names the parts of the .distcp files of a folder.
const dcpMetadata = ".metadata"

// findAround is the folder and, where it is one of torch.distributed.checkpoint, those of the same kind
// beside it: FSDP puts weights and optimizer into two (pytorch_model_fsdp_0, optimizer_0).
func (f *folder) findAround() []*store.Dir {
	f.findOthers()
	return append([]*store.Dir{f.dir}, f.others...)
}

func (f *folder) findOthers() {
	if !slices.ContainsFunc(f.units, func(u *unit) bool { return strings.HasSuffix(u.name, ".distcp") }) || f.dir.Path() == "" {
		return
	}
	up, err := f.l.s.Dir(path.Dir(f.dir.Path()))
	if err != nil {
		return
	}
	defer up.Release()
	entries, _ := up.ReadDir()
	for _, de := range entries {
		if de.Mode&unix.S_IFMT != unix.S_IFDIR || de.Name == path.Base(f.dir.Path()) {
			continue
		}
		if e, err := up.Lookup(de.Name); err == nil && e.Dir != nil {
			if _, err := e.Dir.Lookup(dcpMetadata); err == nil {
				f.others = append(f.others, e.Dir)
			} else {
				e.Dir.Release()
			}
		}
	}
}

// held is a file of the checkpoint, and how it is held.
type held struct {
	dir   *store.Dir
	name  string
	form  store.Form
	apart int64 // how far its mtime is from the job's
}

func (h held) path() string { return path.Join(h.dir.Path(), h.name) }

// siblings lists the regular files of the checkpoint. Several may lie in one folder: those written nearest to
// the job's files come first.
func (f *folder) siblings() (all []held) {
	var now int64
	if len(f.units) > 0 {
		now = f.units[0].mtime
	}
	for _, d := range f.around() {
		entries, err := d.ReadDir()
		if err != nil {
			continue
		}
		for _, de := range entries {
			if de.Mode&unix.S_IFMT != unix.S_IFREG {
				continue
			}
			if e, err := d.Lookup(de.Name); err == nil {
				m := e.Attr.Mtime.Sec*1e9 + int64(e.Attr.Mtime.Nsec)
				all = append(all, held{d, de.Name, e.Form, max(now-m, m-now)})
			}
		}
	}
	slices.SortStableFunc(all, func(a, b held) int { return cmp.Or(cmp.Compare(a.apart, b.apart), natural(a.name, b.name)) })
	return all
}

// index of a sealed sibling, or nil.
func (f *folder) index(p string) *archive.Index {
	if ix, ok := f.indexes[p]; ok {
		return ix
	}
	r, err := f.l.s.OpenArchive(p)
	if err != nil {
		return nil
	}
	defer r.Close()
	if f.indexes == nil {
		f.indexes = map[string]*archive.Index{}
	}
	f.indexes[p] = r.Index()
	return r.Index()
}

// decoded opens a sealed sibling; nil: it cannot be.
func (f *folder) decoded(p string) *decode.File {
	r, err := f.l.s.OpenArchive(p)
	if err != nil {
		return nil
	}
	w, err := decode.Open(r, f.l.s, f.l.cache)
	if err != nil {
		return nil
	}
	return w
}
