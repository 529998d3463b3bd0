package tests

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"testing"
)

// optimizerChains are folders with checkpoints of model.safetensors, optimizer.pt and
// optimizer.safetensors: the small chain of the repo, and the large one where it is.
func optimizerChains(t *testing.T, python string) map[string]string {
	t.Helper()
	small := filepath.Join(t.TempDir(), "small")
	must(t, "cp", "-r", fixture, small)
	must(t, "chmod", "-R", "u+w", small)
	train(t, python, "trainer_optimizer.py", checkpoints(t, small)...)
	chains := map[string]string{"small": small}
	if s := shared(); s == "" || testing.Short() {
		t.Log("skipped: the large chain (EXCPFS_SHARED names the folder that has it; not with -short)")
	} else {
		chains["large"] = filepath.Join(s, "chain/dev")
	}
	return chains
}

// saved puts the checkpoints into a new mount, their files in the given order; all of
// one checkpoint within its settle time.
func saved(t *testing.T, chain, profile string, names ...string) *mounted {
	t.Helper()
	m := mount(t, "--profile", profile, "--settle", "400ms")
	for _, c := range checkpoints(t, chain) {
		folder := m.path(filepath.Base(c))
		if err := os.Mkdir(folder, 0o755); err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			must(t, "cp", "--no-preserve=mode", filepath.Join(c, name), folder)
		}
		m.wait(t)
	}
	return m
}

// TestOptimizerFiles: the optimizer states of torch.save come back with their structure,
// as small as they are in safetensors, in whatever order the files are saved.
func TestOptimizerFiles(t *testing.T) {
	python := trainerPython(t, "torch", "safetensors")
	for size, chain := range optimizerChains(t, python) {
		t.Run(size, func(t *testing.T) {
			bothProfiles(t, func(t *testing.T, profile string) { optimizerFiles(t, python, chain, profile) })
		})
	}
}

func optimizerFiles(t *testing.T, python, chain, profile string) {
	m := saved(t, chain, profile, "model.safetensors", "optimizer.pt", "trainer_state.json")
	plain := t.TempDir()
	for _, c := range checkpoints(t, chain) {
		folder := filepath.Join(plain, filepath.Base(c))
		must(t, "mkdir", folder)
		for _, name := range []string{"model.safetensors", "optimizer.pt", "trainer_state.json"} {
			must(t, "ln", "-s", filepath.Join(c, name), folder)
		}
	}
	t.Log(train(t, python, "trainer_compare.py", plain, m.point, modes[profile]))
	excpfs(t, 0, "verify", m.store)

	permuted := saved(t, chain, profile, "optimizer.pt", "trainer_state.json", "model.safetensors")
	for _, c := range checkpoints(t, chain) {
		for _, name := range []string{"optimizer.pt", "model.safetensors"} {
			name = filepath.Join(filepath.Base(c), name)
			if x, y := archived(t, m, name), archived(t, permuted, name); !reflect.DeepEqual(x, y) {
				t.Errorf("%s is stored otherwise when saved in another order:\n%v\n%v", name, x, y)
			}
			same(t, permuted.path(name), m.path(name))
		}
	}
	compressed(t, m, 3)
	if profile == "excp" || os.Getenv("EXCPFS_LONG") != "" {
		framing(t, m, chain, profile)
	}
}

// maxFraming is what the pickle and the zip records of optimizer.pt may take beyond what
// the same state takes in safetensors: a hundredth, and in a small file some bytes.
func maxFraming(size int64) int64 { return max(size/100, 1<<10) }

// framing compares the sizes of optimizer.pt and optimizer.safetensors.
func framing(t *testing.T, m *mounted, chain, profile string) {
	t.Helper()
	named := saved(t, chain, profile, "model.safetensors", "optimizer.safetensors")
	stored, storedNamed := list(t, m.store), list(t, named.store)
	for _, c := range checkpoints(t, chain) {
		step := filepath.Base(c)
		a, b := stored[filepath.Join(step, "optimizer.pt")].Stored, storedNamed[filepath.Join(step, "optimizer.safetensors")].Stored
		t.Logf("table: %s %s: optimizer.pt %d, optimizer.safetensors %d, %+.2f %%", profile, step, a, b, 100*(float64(a)/float64(b)-1))
		if a == 0 || b == 0 || a-b > maxFraming(b) {
			t.Errorf("%s: optimizer.pt takes %d bytes, optimizer.safetensors %d", step, a, b)
		}
	}
}

// archived is what inspect tells of a file.
func archived(t *testing.T, m *mounted, name string) any {
	t.Helper()
	var v any
	if err := json.Unmarshal([]byte(excpfs(t, 0, "inspect", "--json", filepath.Join(m.store, name)).stdout), &v); err != nil {
		t.Fatal(err)
	}
	return v
}
