package seal

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"excpfs/archive"
)

// The two orders in which a checkpoint's files may be written, and sealed together or not.
func TestMomentsInsideWeights(t *testing.T) {
	md := newModel(1)
	first, firstM := md.weights(), md.moments()
	md.step()
	second, secondM := md.weights(), md.moments()
	stored := map[string]int64{}
	for _, order := range []string{"model first", "optimizer first", "model sealed before", "optimizer sealed before"} {
		t.Run(order, func(t *testing.T) {
			r := newRig(t, Options{})
			r.put("run/c-1/model.safetensors", first)
			r.put("run/c-1/optimizer.safetensors", firstM)
			r.seal()
			r.wantBase("run/c-1/model.safetensors", "")
			model := func() { r.put("run/c-2/model.safetensors", second) }
			optimizer := func() { r.put("run/c-2/optimizer.safetensors", secondM) }
			switch order {
			case "model first":
				model()
				optimizer()
			case "optimizer first":
				optimizer()
				model()
			case "model sealed before":
				model()
				r.seal()
				optimizer()
			case "optimizer sealed before":
				optimizer()
				r.seal()
				model()
			}
			r.seal()
			r.wantBase("run/c-2/model.safetensors", "run/c-1/model.safetensors")
			d, ok := r.dep("run/c-2/optimizer.safetensors", archive.RoleWeights)
			if want := order != "optimizer sealed before"; ok != want || ok && d.ID != r.index("run/c-2/model.safetensors").ID {
				t.Errorf("moments lie in the mask of %q (%v), want %v", d.Hint, ok, want)
			}
			if b, ok := r.dep("run/c-2/optimizer.safetensors", archive.RoleWeightsBase); ok && b.Hint != "run/c-1/model.safetensors" {
				t.Errorf("the base of the weights is hinted at %q", b.Hint)
			}
			a, err := r.s.OpenArchive("run/c-2/model.safetensors")
			if err != nil {
				t.Fatal(err)
			}
			defer a.Close()
			id := fmt.Sprintf("%x", a.Index().ID)
			if order == "model first" {
				stored[id] = 1
			}
			// What is kept of the weights depends on the second moments, which must be found
			// in each order but where they are written last.
			if stored[id] == 0 && order != "model sealed before" {
				t.Errorf("the weights became another content than when written first")
			}
		})
	}
}

// Each checkpoint of a chain is a residual of the one before as that decodes.
func TestClosedLoop(t *testing.T) { realChains(t, closedLoop) }

func closedLoop(t *testing.T, dir string) {
	r := newRig(t, Options{Profile: archive.Profile{Name: "excp", Alpha: 1e-3, Beta: 2, Bits: 4}})
	steps, err := filepath.Glob(filepath.Join(dir, "checkpoint-*"))
	if err != nil {
		t.Fatal(err)
	}
	slices.SortFunc(steps, natural)
	var logical, kept int64
	r.l.o.Progress = func(e Event) { logical, kept = logical+e.Logical, kept+e.Stored }
	for i, step := range steps {
		at := filepath.Base(step)
		r.put(at+"/optimizer.safetensors", read(t, step, "optimizer.safetensors"))
		r.put(at+"/model.safetensors", read(t, step, "model.safetensors"))
		logical, kept = 0, 0
		r.seal()
		base := ""
		if i > 0 {
			base = filepath.Base(steps[i-1]) + "/model.safetensors"
		}
		r.wantBase(at+"/model.safetensors", base)
		if got := int(r.index(at + "/model.safetensors").Depth); got != i {
			t.Errorf("%s: depth %d, want %d", at, got, i)
		}
		if _, ok := r.dep(at+"/optimizer.safetensors", archive.RoleWeights); ok != (i > 0) {
			t.Errorf("%s: moments inside the mask: %v", at, ok)
		}
		t.Logf("%s: %d -> %d, %.1fx", at, logical, kept, float64(logical)/float64(kept))
		if i > 0 && logical < 8*kept {
			t.Errorf("%s: %d bytes became %d", at, logical, kept)
		}
	}
}

// Sealing the same content again is a copy, whoever wrote it.
func TestKnownContent(t *testing.T) {
	r := newRig(t, Options{})
	md := newModel(2)
	r.put("c-1/model.safetensors", md.weights())
	r.seal()
	r.put("c-2/model.safetensors", md.step().weights())
	r.seal()
	want := r.index("c-2/model.safetensors")
	decoded := r.get("c-2/model.safetensors")

	r.put("copy/other.safetensors", decoded)
	h := r.open("c-2/model.safetensors", unix.O_RDWR) // thaw
	if _, err := h.WriteAt(decoded[:100], 0); err != nil {
		t.Fatal(err)
	}
	h.Release()
	r.seal()
	for _, p := range []string{"copy/other.safetensors", "c-2/model.safetensors"} {
		got := r.index(p)
		if got.ID != want.ID || len(got.Deps) != 1 || got.Deps[0].ID != want.Deps[0].ID || got.Profile != want.Profile {
			t.Errorf("%s: %x by %v, want %x by %v", p, got.ID, got.Deps, want.ID, want.Deps)
		}
		if !bytes.Equal(r.get(p), decoded) {
			t.Errorf("%s: other bytes", p)
		}
	}
}

// A thawed lossy file that changed keeps every value, through any number of changes.
func TestEditedIsExact(t *testing.T) {
	for _, name := range []string{"model.safetensors", "optimizer.safetensors"} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, Options{})
			md := newModel(3)
			put := func(c string) {
				r.put(c+"/model.safetensors", md.weights())
				r.put(c+"/optimizer.safetensors", md.moments())
				r.seal()
			}
			put("c-1")
			md.step()
			put("c-2")
			if ix := r.index("c-2/" + name); ix.Profile.Name != "excp" || len(ix.Deps) == 0 {
				t.Fatalf("not lossy: %v", ix.Summary)
			}
			for edit := range 3 {
				want := r.get("c-2/" + name)
				at := len(want) - 4*96 - 4000*edit
				h := r.open("c-2/"+name, unix.O_RDWR)
				var b [256]byte
				for i := range b {
					b[i] = byte(i*7 + edit)
				}
				b[3], b[7] = 0, 0
				if _, err := h.WriteAt(b[:], int64(at)); err != nil {
					t.Fatal(err)
				}
				h.Release()
				copy(want[at:], b[:])
				r.seal()
				if !bytes.Equal(r.get("c-2/"+name), want) {
					t.Fatalf("edit %d: the bytes are not those written", edit)
				}
				if ix := r.index("c-2/" + name); ix.Profile.Name != "exact" || ix.Hash != sha256.Sum256(want) {
					t.Errorf("edit %d: profile %v", edit, ix.Profile)
				}
			}
		})
	}
}

// A decoded file that comes back with other metadata loses nothing, wherever it is written.
func TestOtherMetadata(t *testing.T) {
	r := newRig(t, Options{})
	md := newModel(13)
	md.meta = "before"
	for _, c := range []string{"c-1", "c-2"} {
		md.step()
		r.put(c+"/model.safetensors", md.weights())
		r.put(c+"/optimizer.safetensors", md.moments())
		r.seal()
	}
	for _, name := range []string{"model.safetensors", "optimizer.safetensors"} {
		decoded := r.get("c-2/" + name)
		want := bytes.Replace(decoded, []byte("before"), []byte("after!"), 1)
		for _, at := range []string{"c-2/", "c-3/", "elsewhere/"} {
			r.put(at+name, want)
			r.seal()
			if !bytes.Equal(r.get(at+name), want) {
				t.Errorf("%s%s: other bytes; %+v", at, name, r.index(at+name).Summary)
			}
		}
	}
}

// A file written anew at a path is encoded as any other, frozen tensors or not.
func TestReplacedIsLossy(t *testing.T) {
	r := newRig(t, Options{})
	md := newModel(4)
	for i := range 3 {
		frozen := md.w["b.weight"]
		md.w["b.weight"] = append([]float32(nil), frozen...)
		md.step()
		md.w["b.weight"] = frozen
		r.put("last/model.safetensors", md.weights())
		r.seal()
		if ix := r.index("last/model.safetensors"); ix.Profile.Name != "excp" || i > 0 && ix.Depth == 0 {
			t.Errorf("save %d: profile %s, depth %d", i, ix.Profile.Name, ix.Depth)
		}
	}
}

func TestUnrelatedIsNoBase(t *testing.T) {
	for _, p := range []archive.Profile{excp, exact} {
		t.Run(p.Name, func(t *testing.T) {
			r := newRig(t, Options{Profile: p})
			md := newModel(5)
			r.put("a/model.safetensors", md.weights())
			r.put("b/model.safetensors", newModel(6).weights())
			// The same model with its rows in another order.
			rows, cols := md.shapes["a.weight"][0], md.shapes["a.weight"][1]
			rand.New(rand.NewPCG(1, 2)).Shuffle(rows, func(i, j int) {
				for k := range cols {
					w := md.w["a.weight"]
					w[i*cols+k], w[j*cols+k] = w[j*cols+k], w[i*cols+k]
				}
			})
			rand.New(rand.NewPCG(1, 2)).Shuffle(128, func(i, j int) {
				for k := range 96 {
					w := md.w["b.weight"]
					w[i*96+k], w[j*96+k] = w[j*96+k], w[i*96+k]
				}
			})
			permuted := md.weights()
			r.put("c/model.safetensors", permuted)
			r.seal()
			for _, f := range []string{"a", "b"} {
				r.wantBase(f+"/model.safetensors", "")
			}
			if p == excp {
				r.wantBase("c/model.safetensors", "")
			}
			if !bytes.Equal(r.get("c/model.safetensors"), permuted) {
				t.Error("the permuted model lost something")
			}
		})
	}
}

func TestExactChain(t *testing.T) {
	r := newRig(t, Options{Profile: exact})
	md := newModel(7)
	for i := range 3 {
		md.step()
		b, m := md.weights(), md.moments()
		r.put(fmt.Sprintf("c-%d/model.safetensors", i), b)
		r.put(fmt.Sprintf("c-%d/optimizer.safetensors", i), m)
		r.seal()
		if !bytes.Equal(r.get(fmt.Sprintf("c-%d/model.safetensors", i)), b) || !bytes.Equal(r.get(fmt.Sprintf("c-%d/optimizer.safetensors", i)), m) {
			t.Fatalf("step %d is not exact", i)
		}
	}
}

func TestMaxDepth(t *testing.T) {
	r := newRig(t, Options{MaxDepth: 3})
	md := newModel(8)
	deepest := 0
	for i := range 7 {
		p := fmt.Sprintf("c-%d/model.safetensors", i)
		r.put(p, md.step().weights())
		r.seal()
		depth := int(r.index(p).Depth)
		if depth != min(i, depth) || depth > 3 {
			t.Errorf("step %d: depth %d", i, depth)
		}
		deepest = max(deepest, depth)
		r.get(p)
	}
	if deepest != 3 {
		t.Errorf("deepest %d, want 3", deepest)
	}
}

func TestStaysPlain(t *testing.T) {
	r := newRig(t, Options{})
	md := newModel(9)
	whole := md.weights()
	noise := make([]byte, 200<<10)
	for i := range noise {
		noise[i] = byte(rand.Uint32())
	}
	head := fmt.Sprintf(`{"x":{"dtype":"U8","shape":[%d],"data_offsets":[0,%d]}}`, len(noise), len(noise))
	head += strings.Repeat(" ", -len(head)&7)
	incompressible := append(append(binary.LittleEndian.AppendUint64(nil, uint64(len(head))), head...), noise...)
	files := map[string]struct {
		data   []byte
		reason string
	}{
		"noise.safetensors":     {incompressible, "saves less than 2 %"},
		"truncated.safetensors": {whole[:len(whole)-5], "not a tensor file"},
		"text.safetensors":      {bytes.Repeat([]byte("text"), 40000), "not a tensor file"},
		"small.safetensors":     {whole[:4000], "under 64 KiB"},
		"empty":                 {nil, "under 64 KiB"},
		"linked.safetensors":    {whole, "more than one hard link"},
	}
	for name, f := range files {
		r.put("run/"+name, f.data)
	}
	d := r.folder("run")
	defer d.Release()
	if _, err := d.Link("linked.safetensors", d, "link"); err != nil {
		t.Fatal(err)
	}
	r.put("run/good.bin", newModel(10).weights()) // by content, not by name
	plain := r.drain()
	for name, f := range files {
		if !strings.HasPrefix(plain["run/"+name], f.reason) {
			t.Errorf("%s: %q, want %q", name, plain["run/"+name], f.reason)
		}
		if r.sealed("run/"+name) || !bytes.Equal(r.get("run/"+name), f.data) {
			t.Errorf("%s is not as it was", name)
		}
	}
	if !r.sealed("run/good.bin") {
		t.Error("the others held a good file")
	}
	if left := r.s.Pending(); len(left) != 0 {
		t.Errorf("left in the queue: %v", left)
	}
}

// Run seals what is closed, leaves what is open, and stops with its context.
func TestRun(t *testing.T) {
	events := make(chan Event, 10)
	r := newRig(t, Options{Settle: 100 * time.Millisecond, Idle: true, Progress: func(e Event) { events <- e }})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- r.l.Run(ctx) }()
	b := newModel(11).weights()
	h := r.open("c-1/model.safetensors", unix.O_CREAT|unix.O_RDWR)
	if _, err := h.WriteAt(b, 0); err != nil {
		t.Fatal(err)
	}
	select {
	case e := <-events:
		t.Fatalf("sealed while open: %v", e)
	case <-time.After(600 * time.Millisecond):
	}
	h.Release()
	select {
	case e := <-events:
		if e.Path != "c-1/model.safetensors" || e.Stored == 0 || e.Logical != int64(len(b)) || e.Err != nil {
			t.Errorf("event %+v", e)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("not sealed")
	}
	if !bytes.Equal(r.get("c-1/model.safetensors"), b) {
		t.Error("other bytes")
	}
	cancel()
	if err := <-done; err != nil {
		t.Errorf("Run: %v", err)
	}
}

// Drain ends with its context and tells what is left.
func TestDrainOpenFile(t *testing.T) {
	r := newRig(t, Options{})
	h := r.open("model.safetensors", unix.O_CREAT|unix.O_RDWR)
	defer h.Release()
	h.WriteAt(newModel(12).weights(), 0)
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	es, err := r.l.Drain(ctx)
	if err == nil || len(es) != 1 || es[0].Reason != "still open" {
		t.Errorf("%v, %v", es, err)
	}
}
