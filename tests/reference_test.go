package tests

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// TestReference compares profile excp with an independent implementation of the
// paper: what is kept, how exact it is, how small it is, and what the model that
// comes back is worth.
func TestReference(t *testing.T) {
	python := needPython(t)
	for _, alpha := range []string{"5e-5", "1e-3"} {
		t.Run("alpha="+alpha, func(t *testing.T) {
			chain := chainOf(t, "dev")
			ref := t.TempDir()
			must(t, python, "python/excp_reference.py", chain, ref, "--alpha", alpha)
			script := t.TempDir()
			must(t, python, "python/excp_reference.py", chain, script, "--alpha", alpha, "--script")
			m := mount(t, "--alpha", alpha)
			for _, c := range checkpoints(t, chain) {
				m.add(t, c)
			}
			r := command(t, python, "python/compare.py", chain, m.point, ref, alpha)
			t.Log(r.stdout)
			if r.code != 0 {
				t.Errorf("not what the paper gives\n%v", r)
			}
			sizes(t, m, chain, ref, script, alpha)
			losses(t, m.point, ref)
		})
	}
}

// minGain is by how much an archive is smaller than the reference's packed codes
// after 7z -mx=9. The small chain has fewer symbols to learn from.
func minGain(chain string) float64 {
	if strings.HasPrefix(chain, "testdata") {
		return 1.12
	}
	return 1.15
}

func sizes(t *testing.T, m *mounted, chain, ref, script, alpha string) {
	needProgram(t, "7z")
	t.Logf("table: alpha %s      original    reference + 7z          excpfs     gain   (authors' script + 7z)", alpha)
	for i, c := range checkpoints(t, chain) {
		step := strings.TrimPrefix(filepath.Base(c), "checkpoint-")
		original, theirs, ours := int64(0), zipped(t, filepath.Join(ref, step+".packed")), int64(0)
		for _, name := range []string{"model.safetensors", "optimizer.safetensors"} {
			original += sizeOf(t, filepath.Join(c, name))
			ours += sizeOf(t, filepath.Join(m.store, filepath.Base(c), name+".excp"))
		}
		gain := float64(theirs) / float64(ours)
		authors := zipped(t, filepath.Join(script, step+".packed"))
		t.Logf("table: step %-6s %12d %8d (%5.2fx) %8d (%5.2fx)  %.3fx  (%d, %.2fx)", step, original,
			theirs, float64(original)/float64(theirs), ours, float64(original)/float64(ours), gain,
			authors, float64(original)/float64(authors))
		if i > 0 && gain < minGain(chain) {
			t.Errorf("step %s: %.3f times smaller than the reference, less than %.2f", step, gain, minGain(chain))
		}
	}
}

func zipped(t *testing.T, path string) int64 {
	t.Helper()
	must(t, "7z", "a", "-mx=9", "-bd", path+".7z", path)
	return sizeOf(t, path+".7z")
}

func sizeOf(t *testing.T, path string) int64 {
	t.Helper()
	st, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return st.Size()
}

// maxLoss is how far the held-out loss may be from the reference's.
const maxLoss = 0.005

// losses evaluates the last checkpoint of the mount and of the reference, and with
// EXCPFS_LONG set trains on from both.
func losses(t *testing.T, point, ref string) {
	dir := shared()
	if dir == "" || testing.Short() {
		t.Log("skipped: the loss needs the large chain and its corpus")
		return
	}
	train := trainer{script: filepath.Join(dir, "chain/train.py"), corpus: corpus(t, dir)}
	const last = "checkpoint-800"
	ours, theirs := train.eval(t, filepath.Join(point, last)), train.eval(t, filepath.Join(ref, last))
	compareLoss(t, "on loading step 800", ours, theirs)
	if os.Getenv("EXCPFS_LONG") == "" {
		t.Log("skipped: training on from step 800 to 860 (make test-long)")
		return
	}
	compareLoss(t, "at step 860 after resuming", train.resume(t, filepath.Join(point, last)), train.resume(t, filepath.Join(ref, last)))
}

func compareLoss(t *testing.T, when string, ours, theirs float64) {
	t.Helper()
	t.Logf("table: held-out loss %s: excpfs %.4f, reference %.4f", when, ours, theirs)
	if d := ours - theirs; d > maxLoss || d < -maxLoss {
		t.Errorf("the loss %s is %.4f from the reference's", when, d)
	}
}

func corpus(t *testing.T, dir string) string {
	needProgram(t, "xz")
	path := filepath.Join(t.TempDir(), "corpus.txt")
	must(t, "sh", "-c", fmt.Sprintf("xz -dc '%s/chain/corpus.txt.xz' > '%s'", dir, path))
	return path
}

type trainer struct{ script, corpus string }

var lossText = regexp.MustCompile(`(?:eval_loss|held-out loss|heldout|loss)\D{0,4}([0-9]+\.[0-9]+)`)

func (r trainer) eval(t *testing.T, checkpoint string) float64 {
	t.Helper()
	return r.run(t, "--eval", checkpoint)
}

func (r trainer) resume(t *testing.T, checkpoint string) float64 {
	t.Helper()
	out := t.TempDir()
	r.run(t, "--resume", checkpoint, "--resume-optimizer", "safetensors", "--out", out, "--stop-at", "860")
	return r.eval(t, filepath.Join(out, "checkpoint-860"))
}

func (r trainer) run(t *testing.T, args ...string) float64 {
	t.Helper()
	args = append([]string{r.script, "--corpus", r.corpus}, args...)
	out := commandIn(t, "", []string{"OMP_WAIT_POLICY=PASSIVE", "PYTHONDONTWRITEBYTECODE=1"}, "/usr/bin/python3", args...)
	if out.code != 0 {
		t.Fatalf("train.py %q\n%v", args, out)
	}
	found := lossText.FindAllStringSubmatch(out.stdout, -1)
	if len(found) == 0 {
		t.Fatalf("no loss in the output of train.py %q\n%v", args, out)
	}
	loss, err := strconv.ParseFloat(found[len(found)-1][1], 64)
	if err != nil {
		t.Fatal(err)
	}
	return loss
}
