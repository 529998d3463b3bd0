package seal

import (
	"bytes"
	"context"
	"math"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"

	"excpfs/archive"
	"excpfs/encode"
	"excpfs/store"
)

// noisy is a file of n floats, random but for a tensor of zeros with that share of them.
func noisy(seed uint64, n int, zeros float64) []byte {
	r := rand.New(rand.NewPCG(seed, 5))
	z := int(zeros * float64(n))
	v := make([]float32, n-z)
	for i := range v {
		v[i] = math.Float32frombits(r.Uint32())
	}
	return (&model{}).file([]tensorData{{"w", []int{n - z}, v}, {"z", []int{z}, make([]float32, z)}})
}

// unitOf is the only file in the queue.
func (r *rig) unitOf() *unit {
	r.Helper()
	u, err := r.l.open(r.s.Pending()[0])
	if err != nil {
		r.Fatal(err)
	}
	r.Cleanup(func() { u.src.Close() })
	return u
}

// An archive that does not decode to what was encoded never takes the file's place.
func TestDamagedDraft(t *testing.T) {
	for _, profile := range []archive.Profile{excp, exact} {
		r := newRig(t, Options{Profile: profile})
		b := noisy(1, 1<<20, 0.1)
		r.put("a.safetensors", b)
		u := r.unitOf()
		trailer, damaged := u.trailer, false
		u.trailer = func(temp *os.File) (archive.Trailer, error) { // all blocks are written, the first MiB is in the file
			one := make([]byte, 1)
			if _, err := temp.ReadAt(one, 1<<19); err != nil {
				t.Fatal(err)
			}
			one[0] ^= 1
			_, err := temp.WriteAt(one, 1<<19)
			damaged = err == nil
			if err != nil {
				t.Fatal(err)
			}
			return trailer(temp)
		}
		f := r.l.folder(r.s.Root())
		stored, err := r.l.seal(t.Context(), f, u)
		f.close()
		if !damaged || err == nil {
			t.Fatalf("damaged: %v, error %v", damaged, err)
		}
		o := r.l.conclude(t.Context(), u.pending, stored, err)
		if len(o) != 1 || o[0].Reason == "" || o[0].Stored != 0 || o[0].again {
			t.Errorf("%+v", o)
		}
		if r.sealed("a.safetensors") || !bytes.Equal(r.get("a.safetensors"), b) {
			t.Error("the file is not what it was")
		}
		if len(r.s.Pending()) != 0 {
			t.Error("still in the queue")
		}
	}
}

// Neither does a sound one of another content, where nothing may be lost.
func TestDraftOfAnother(t *testing.T) {
	r := newRig(t, Options{Profile: exact})
	r.put("a.safetensors", noisy(1, 1<<16, 0.1))
	u := r.unitOf()
	other := noisy(2, 1<<16, 0.1)
	d, err := r.l.write(t.Context(), u, true, func(w *archive.Writer) (*archive.Index, error) {
		return encode.Encode(context.Background(), encode.Input{Profile: exact, Name: "a", Src: bytes.NewReader(other), Layout: u.layout}, w)
	})
	if err == nil {
		r.s.Discard(d.temp)
		t.Fatal("the archive of another file was taken")
	}
}

// Below 2 % an archive is not worth having.
func TestSaving(t *testing.T) {
	for _, c := range []struct {
		zeros  float64
		sealed bool
	}{{0.01, false}, {0.03, true}} {
		r := newRig(t, Options{})
		b := noisy(3, 1<<18, c.zeros)
		r.put("a.safetensors", b)
		reason := r.drain()["a.safetensors"]
		if r.sealed("a.safetensors") != c.sealed || c.sealed != (reason == "") {
			t.Errorf("zeros %g: sealed %v (%q)", c.zeros, !c.sealed, reason)
		}
		if !c.sealed && reason != "saves less than 2 %" {
			t.Errorf("reason %q", reason)
		}
		if !bytes.Equal(r.get("a.safetensors"), b) {
			t.Error("other bytes")
		}
	}
}

// The weights of a job are sealed before its moments, whatever their names say.
func TestWeightsFirst(t *testing.T) {
	r := newRig(t, Options{})
	md := newModel(40)
	for _, c := range []string{"c-1", "c-2"} {
		md.step()
		r.put(c+"/a_opt.safetensors", md.moments())
		r.put(c+"/model.safetensors", md.weights())
		r.seal()
	}
	d, ok := r.dep("c-2/a_opt.safetensors", archive.RoleWeights)
	if !ok || d.Hint != "c-2/model.safetensors" || d.ID != r.index("c-2/model.safetensors").ID {
		t.Errorf("moments lie in the mask of %q (%v)", d.Hint, ok)
	}
	masked := 0
	for _, x := range r.index("c-2/a_opt.safetensors").Tensors {
		if x.Mask != "" {
			masked++
		}
	}
	if masked == 0 {
		t.Error("no tensor has a mask")
	}
}

// What the documentation promises.
func TestDefaults(t *testing.T) {
	o := Options{}.withDefaults()
	for _, c := range []struct {
		what      string
		got, want any
	}{
		{"longest wait", o.MaxWait, time.Minute},
		{"depth", o.MaxDepth, 8},
		{"smallest file", minSize, 65536},
		{"least saving", minSaving, 0.02},
		{"farthest base", encode.MaxBaseRMS, 0.3},
		{"low space", lowSpace, 0.05},
	} {
		if c.got != c.want {
			t.Errorf("%s is %v, want %v", c.what, c.got, c.want)
		}
	}
	l := New((*store.Store)(nil), Options{})
	if l.settler.settle != o.Settle || l.settler.maxWait != o.MaxWait {
		t.Errorf("settler %v %v", l.settler.settle, l.settler.maxWait)
	}
}

// A file that could not be sealed for its name, or its other links, is once they are gone.
func TestSealedAfterAll(t *testing.T) {
	r := newRig(t, Options{})
	root := r.folder("")
	long := strings.Repeat("n", 255)
	first, second := newModel(41).weights(), newModel(42).weights()
	r.put(long, first)
	r.put("a.safetensors", second)
	if _, err := root.Link("a.safetensors", root, "b.safetensors"); err != nil {
		t.Fatal(err)
	}
	if plain := r.drain(); len(plain) != 2 {
		t.Fatalf("stayed plain: %v", plain)
	}
	if err := root.Rename(long, root, "short.safetensors", 0); err != nil {
		t.Fatal(err)
	}
	if err := root.Unlink("a.safetensors"); err != nil {
		t.Fatal(err)
	}
	r.seal()
	for name, want := range map[string][]byte{"short.safetensors": first, "b.safetensors": second} {
		if !r.sealed(name) || !bytes.Equal(r.get(name), want) {
			t.Errorf("%s: sealed %v", name, r.sealed(name))
		}
	}
}
