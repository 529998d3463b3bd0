package seal

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"math"
	"math/rand/v2"
	"os"
	"path"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"excpfs/archive"
	"excpfs/encode"
	"excpfs/store"
)

var (
	excp  = archive.Profile{Name: encode.ProfileExcp, Alpha: 5e-5, Beta: 2, Bits: 4}
	exact = archive.Profile{Name: encode.ProfileExact}
)

// rig is a store with a sealer.
type rig struct {
	*testing.T
	s *store.Store
	l *Sealer
}

func newRig(t *testing.T, o Options) *rig {
	t.Helper()
	s, err := store.Open(t.TempDir(), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	if o.Profile.Name == "" {
		o.Profile = excp
	}
	if o.Settle == 0 {
		o.Settle = 50 * time.Millisecond
	}
	return &rig{t, s, New(s, o)}
}

// with is another sealer of the same store.
func (r *rig) with(o Options) *rig {
	if o.Profile.Name == "" {
		o.Profile = excp
	}
	return &rig{r.T, r.s, New(r.s, o)}
}

// me is who makes files.
var me = store.Caller{UID: uint32(os.Getuid()), GID: uint32(os.Getgid())}

// folder makes a folder and those above it.
func (r *rig) folder(p string) *store.Dir {
	r.Helper()
	if p == "." || p == "" {
		return r.s.Root()
	}
	up := r.folder(path.Dir(p))
	defer up.Release()
	e, err := up.Lookup(path.Base(p))
	if err != nil {
		e, err = up.Mkdir(path.Base(p), 0o755, me)
	}
	if err != nil {
		r.Fatal(err)
	}
	return e.Dir
}

// open opens a file for writing, as a mount does.
func (r *rig) open(p string, flags int) *store.Handle {
	r.Helper()
	d := r.folder(path.Dir(p))
	defer d.Release()
	_, h, err := d.Create(path.Base(p), flags, 0o644, me)
	if err != nil {
		r.Fatalf("create %s: %v", p, err)
	}
	return h
}

func (r *rig) put(p string, b []byte) {
	r.Helper()
	h := r.open(p, unix.O_CREAT|unix.O_TRUNC|unix.O_RDWR)
	defer h.Release()
	if _, err := h.WriteAt(b, 0); err != nil {
		r.Fatalf("write %s: %v", p, err)
	}
}

func (r *rig) get(p string) []byte {
	r.Helper()
	d := r.folder(path.Dir(p))
	defer d.Release()
	h, err := d.Open(path.Base(p), unix.O_RDONLY)
	if err != nil {
		r.Fatalf("open %s: %v", p, err)
	}
	defer h.Release()
	a, err := h.Attr()
	if err != nil {
		r.Fatal(err)
	}
	b := make([]byte, a.Size)
	if n, err := h.ReadAt(b, 0); n != len(b) {
		r.Fatalf("read %s: %d bytes, %v", p, n, err)
	}
	return b
}

// drain works the queue off and returns what stayed plain, by path.
func (r *rig) drain() map[string]string {
	r.Helper()
	ctx, cancel := context.WithTimeout(r.Context(), time.Minute)
	defer cancel()
	es, err := r.l.Drain(ctx)
	if err != nil {
		r.Fatalf("drain: %v (%v)", err, es)
	}
	plain := map[string]string{}
	for _, e := range es {
		plain[e.Path] = e.Reason
	}
	return plain
}

// seal drains, and everything must have become an archive.
func (r *rig) seal() {
	r.Helper()
	if plain := r.drain(); len(plain) > 0 {
		r.Fatalf("stayed plain: %v", plain)
	}
}

func (r *rig) sealed(p string) bool {
	r.Helper()
	d := r.folder(path.Dir(p))
	defer d.Release()
	e, err := d.Lookup(path.Base(p))
	if err != nil {
		r.Fatalf("lookup %s: %v", p, err)
	}
	return e.Form == store.Sealed
}

func (r *rig) index(p string) *archive.Index {
	r.Helper()
	a, err := r.s.OpenArchive(p)
	if err != nil {
		r.Fatalf("archive %s: %v", p, err)
	}
	defer a.Close()
	return a.Index()
}

// dep is the path the content for a role had.
func (r *rig) dep(p string, role archive.Role) (archive.Dep, bool) {
	r.Helper()
	for _, d := range r.index(p).Deps {
		if d.Role == role {
			return d, true
		}
	}
	return archive.Dep{}, false
}

// wantBase checks which content a file is a residual of; "" for none.
func (r *rig) wantBase(p, base string) {
	r.Helper()
	d, ok := r.dep(p, archive.RoleBase)
	switch {
	case base == "" && ok:
		r.Errorf("%s has base %s, want none", p, d.Hint)
	case base != "" && !ok:
		r.Errorf("%s has no base, want %s", p, base)
	case base != "" && (d.ID != r.index(base).ID || d.Hint != base):
		r.Errorf("%s has base %s, want %s", p, d.Hint, base)
	}
}

// model is a small training state that can be stepped.
type model struct {
	rng     *rand.Rand
	names   []string
	shapes  map[string][]int
	w, m, v map[string][]float32
	meta    string
}

func newModel(seed uint64) *model {
	md := &model{
		rng:    rand.New(rand.NewPCG(seed, 1)),
		names:  []string{"a.weight", "b.bias", "b.weight"},
		shapes: map[string][]int{"a.weight": {96, 160}, "b.weight": {128, 96}, "b.bias": {128}},
		w:      map[string][]float32{}, m: map[string][]float32{}, v: map[string][]float32{},
	}
	for _, n := range md.names {
		size := 1
		for _, d := range md.shapes[n] {
			size *= d
		}
		for range size {
			md.w[n] = append(md.w[n], float32(md.rng.NormFloat64()*0.02))
			md.m[n] = append(md.m[n], 0)
			md.v[n] = append(md.v[n], 1e-8)
		}
	}
	return md
}

// step moves the weights by about a twelfth of their size.
func (md *model) step() *model {
	for _, n := range md.names {
		for i := range md.w[n] {
			g := md.rng.NormFloat64() * math.Exp(md.rng.NormFloat64())
			md.m[n][i] = float32(0.9*float64(md.m[n][i]) + 1e-4*g)
			md.v[n][i] = float32(0.9*float64(md.v[n][i]) + 1e-8*g*g)
			md.w[n][i] += float32(1e-3 * g)
		}
	}
	return md
}

// tensorData is one tensor of a file to be written.
type tensorData struct {
	name  string
	shape []int
	v     []float32
}

func (md *model) weights() []byte {
	var ts []tensorData
	for _, n := range md.names {
		ts = append(ts, tensorData{n, md.shapes[n], md.w[n]})
	}
	return md.file(ts)
}

func (md *model) moments() []byte {
	var ts []tensorData
	for _, n := range md.names {
		ts = append(ts, tensorData{"exp_avg." + n, md.shapes[n], md.m[n]}, tensorData{"exp_avg_sq." + n, md.shapes[n], md.v[n]},
			tensorData{"step." + n, []int{}, []float32{7}})
	}
	return md.file(ts)
}

// file writes safetensors.
func (md *model) file(ts []tensorData) []byte {
	type entry struct {
		DType   string `json:"dtype"`
		Shape   []int  `json:"shape"`
		Offsets [2]int `json:"data_offsets"`
	}
	head := map[string]any{"__metadata__": map[string]string{"format": "pt", "note": md.meta}}
	var data []byte
	for _, t := range ts {
		at := len(data)
		for _, x := range t.v {
			data = binary.LittleEndian.AppendUint32(data, math.Float32bits(x))
		}
		head[t.name] = entry{"F32", t.shape, [2]int{at, len(data)}}
	}
	j, err := json.Marshal(head)
	if err != nil {
		panic(err)
	}
	j = append(j, bytes.Repeat([]byte{' '}, -len(j)&7)...)
	return append(append(binary.LittleEndian.AppendUint64(nil, uint64(len(j))), j...), data...)
}

// realChains calls fn with each chain of checkpoint-N folders of a real training run: the
// project's own small one, and the large one of the shared folder.
func realChains(t *testing.T, fn func(t *testing.T, dir string)) {
	shared := os.Getenv("EXCPFS_SHARED")
	if shared == "" {
		shared = "../../shared"
	}
	for name, dir := range map[string]string{"small": "../tests/testdata/chain/dev", "shared": filepath.Join(shared, "chain/dev")} {
		t.Run(name, func(t *testing.T) {
			if m, _ := filepath.Glob(filepath.Join(dir, "checkpoint-*/model.safetensors")); len(m) < 2 {
				t.Skipf("%s: no real chain there (EXCPFS_SHARED names the shared folder)", dir)
			}
			if testing.Short() && name == "shared" {
				t.Skip("the large chain takes long")
			}
			fn(t, dir)
		})
	}
}

func read(t *testing.T, elem ...string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(elem...))
	if err != nil {
		t.Fatal(err)
	}
	return b
}
