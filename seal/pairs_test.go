package seal

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"excpfs/safetensors"
	"excpfs/tensor"
	"excpfs/torchfile"
)

// pairedRun is a real chain whose optimizer.pt numbers the parameters.
type pairedRun struct {
	dir   string
	steps []string // in order
	truth map[string]string
}

// pairedRuns calls fn with each: one with four matrices of a shape in every layer, and the
// large one of the shared folder.
func pairedRuns(t *testing.T, fn func(t *testing.T, run pairedRun)) {
	t.Run("qkv", func(t *testing.T) {
		run := pairedRun{dir: "../tests/testdata/chain/qkv", steps: []string{"checkpoint-300", "checkpoint-340", "checkpoint-400"}}
		if err := json.Unmarshal(read(t, run.dir, "truth.json"), &run.truth); err != nil {
			t.Fatal(err)
		}
		fn(t, run)
	})
	t.Run("shared", func(t *testing.T) {
		shared := os.Getenv("EXCPFS_SHARED")
		if shared == "" {
			shared = "../../shared"
		}
		run := pairedRun{dir: filepath.Join(shared, "chain/dev"), steps: []string{"checkpoint-500", "checkpoint-600", "checkpoint-700"}}
		if _, err := os.Stat(filepath.Join(run.dir, run.steps[0], "optimizer.pt")); err != nil {
			t.Skipf("%s: no real chain there (EXCPFS_SHARED names the shared folder)", run.dir)
		}
		if testing.Short() {
			t.Skip("the large chain takes long")
		}
		run.truth = namesByData(t, filepath.Join(run.dir, run.steps[0]))
		fn(t, run)
	})
}

// namesByData names the numbers of an optimizer.pt by optimizer.safetensors, which holds the same moments by name.
// Two biases that are added to the same sum have equal moments: the attention's is the first in both orders.
func namesByData(t *testing.T, dir string) map[string]string {
	t.Helper()
	b := read(t, dir, "optimizer.safetensors")
	l, err := safetensors.Parse(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	named := map[string][]string{}
	for _, x := range l.Tensors {
		if role, weight := tensor.RoleOf(x.Name); role == tensor.ExpAvg {
			data := string(b[x.Offset : x.Offset+x.Length])
			named[data] = append(named[data], weight)
		}
	}
	truth := map[string]string{}
	pt := read(t, dir, "optimizer.pt")
	for _, x := range momentsOf(t, pt, tensor.ExpAvg) {
		data := string(pt[x.Offset : x.Offset+x.Length])
		if len(named[data]) == 0 {
			t.Fatalf("no moments are those of %s", x.Name)
		}
		slices.Sort(named[data])
		truth[paramOf(x)], named[data] = named[data][0], named[data][1:]
	}
	return truth
}

// momentsOf lists the moments of a role in an optimizer.pt, by their numbers.
func momentsOf(t *testing.T, b []byte, want tensor.Role) (all []tensor.Info) {
	t.Helper()
	l, err := torchfile.Parse(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range l.Tensors {
		if role, _ := tensor.RoleOf(x.Name); role == want {
			all = append(all, x)
		}
	}
	slices.SortFunc(all, func(a, b tensor.Info) int { return natural(a.Name, b.Name) })
	return all
}

func paramOf(x tensor.Info) string {
	_, key := tensor.RoleOf(x.Name)
	return key
}

// pairing is what the masks of a sealed file say: right, wrong and none.
func (r *rig) pairing(p string, truth map[string]string) (right, wrong, none int) {
	r.Helper()
	known := masks(r.index(p))
	for id, want := range truth {
		switch got := known[id]; got {
		case want:
			right++
		case "":
			none++
		default:
			r.Logf("%s: parameter %s lies in the mask of %s, not %s", p, id, got, want)
			wrong++
		}
	}
	return right, wrong, none
}

func (r *rig) putStep(run pairedRun, step string, optimizer []byte) {
	r.Helper()
	r.put(step+"/optimizer.pt", optimizer)
	r.put(step+"/model.safetensors", read(r.T, run.dir, step, "model.safetensors"))
	r.seal()
}

// Each parameter of a real run is paired with its weight, but for the first checkpoint, which has no base.
func TestPairedRun(t *testing.T) {
	pairedRuns(t, func(t *testing.T, run pairedRun) {
		r := newRig(t, Options{})
		for i, step := range run.steps {
			r.putStep(run, step, read(t, run.dir, step, "optimizer.pt"))
			right, wrong, none := r.pairing(step+"/optimizer.pt", run.truth)
			if n := len(run.truth); i == 0 && none != n || i > 0 && right != n {
				t.Errorf("%s: %d right, %d wrong, %d without, of %d", step, right, wrong, none, n)
			}
		}
	})
}

// shuffled exchanges the moments of parameters of one shape among themselves and tells whose each are now.
func shuffled(t *testing.T, b []byte, truth map[string]string, seed uint64) ([]byte, map[string]string) {
	t.Helper()
	to := slices.Clone(b)
	now := map[string]string{}
	for _, role := range []tensor.Role{tensor.ExpAvg, tensor.ExpAvgSq} {
		classes := map[string][]tensor.Info{}
		for _, x := range momentsOf(t, b, role) {
			s := fmt.Sprint(x.Shape)
			classes[s] = append(classes[s], x)
		}
		for s, class := range classes {
			rng := rand.New(rand.NewPCG(seed, uint64(len(s)))) // the same for both moments
			for i, j := range rng.Perm(len(class)) {
				x, y := class[i], class[j]
				copy(to[x.Offset:x.Offset+x.Length], b[y.Offset:y.Offset+y.Length])
				now[paramOf(x)] = truth[paramOf(y)]
			}
		}
	}
	return to, now
}

// Whatever order the numbers have, from the beginning or from one checkpoint on, no parameter is paired
// with another's weight.
func TestShuffledRun(t *testing.T) {
	pairedRuns(t, func(t *testing.T, run pairedRun) {
		for seed := range uint64(2) {
			for _, from := range []int{0, 2} {
				t.Run(fmt.Sprintf("seed %d from %s", seed, run.steps[from]), func(t *testing.T) {
					r := newRig(t, Options{})
					for i, step := range run.steps {
						optimizer, truth := read(t, run.dir, step, "optimizer.pt"), run.truth
						if i >= from {
							optimizer, truth = shuffled(t, optimizer, truth, seed)
						}
						r.putStep(run, step, optimizer)
						right, wrong, none := r.pairing(step+"/optimizer.pt", truth)
						t.Logf("%s: %d right, %d without", step, right, none)
						if wrong > 0 || i > 0 && right < 20 { // of 22 matrices
							t.Errorf("%s: %d wrong, %d right", step, wrong, right)
						}
					}
				})
			}
		}
	})
}
