package tests

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// series makes the archives of the independent implementation of ExCP's script.
func series(t *testing.T, python string, flags ...string) string {
	t.Helper()
	if !hasTorch(python) {
		t.Skip("skipped: no torch in .venv (make setup)")
	}
	dir := filepath.Join(t.TempDir(), "series")
	must(t, python, append([]string{"python/excp_archive.py", "make", fixture, dir}, flags...)...)
	return dir
}

func hasTorch(python string) bool {
	return exec.Command(python, "-c", "import torch, safetensors.torch").Run() == nil
}

// taken unpacks a whole store and says where.
func taken(t *testing.T, store string) string {
	t.Helper()
	out := filepath.Join(t.TempDir(), "out")
	excpfs(t, 0, "unpack", store, out)
	return out
}

// deltas are the checkpoints of a series that are not full.
var deltas = []string{"models/checkpoint-600", "models/checkpoint-700", "models2/checkpoint-100"}

// TestImportSeries imports two folders with three deltas; what comes out is what the
// script reconstructs, bit for bit.
func TestImportSeries(t *testing.T) {
	python := needPython(t)
	for name, flags := range map[string][]string{"plain": nil, "odd": {"--odd"}, "small": {"--odd", "--small"}} {
		t.Run(name, func(t *testing.T) {
			from := series(t, python, flags...)
			before := fingerprint(t, from)
			store := t.TempDir()
			args := []string{"import", "--excp", filepath.Join(from, "models"), filepath.Join(from, "models2"), filepath.Join(store, "run")}
			r := excpfs(t, 0, args...)
			contains(t, r.stdout, "files imported and compared")
			contains(t, r.stderr, "checkpoint-600: no codebook, values taken as they are: ")
			if name != "plain" {
				contains(t, r.stderr, `checkpoint-100: tensor "gpt_neox.layers.0.input_layernorm.bias": not in the delta: left out`)
			}
			checkSeries(t, python, from, filepath.Join(taken(t, store), "run"))
			excpfs(t, 0, "verify", store)
			if after := fingerprint(t, from); after != before {
				t.Errorf("the source changed:\n%s\n%s", before, after)
			}
			r = excpfs(t, 0, args...) // again: nothing new
			contains(t, r.stdout, "0 files imported")
			contains(t, r.stdout, "11 files were in the store already, the same")
			leftBeside(t, store)
		})
	}
}

// checkSeries compares a series with the oracle's reconstruction.
func checkSeries(t *testing.T, python, from, at string) {
	t.Helper()
	args := append([]string{"python/excp_archive.py", "compare", filepath.Join(from, "want"), at}, deltas...)
	if r := command(t, python, args...); r.code != 0 {
		t.Errorf("not what the script reconstructs\n%v", r)
	}
	for _, d := range deltas {
		same(t, filepath.Join(at, d, "model.safetensors"), filepath.Join(from, "want", d, "model.safetensors"))
	}
	for _, name := range []string{"model.safetensors", "optimizer.pt", "config.json"} {
		same(t, filepath.Join(at, "models/checkpoint-500", name), filepath.Join(from, "models/checkpoint-500", name))
	}
	same(t, filepath.Join(at, "models/checkpoint-600/config.json"), filepath.Join(from, "models/checkpoint-600/config.json"))
	if _, err := os.Stat(filepath.Join(at, "models/checkpoint-600/compressed.pt")); err == nil {
		t.Error("compressed.pt is in the store")
	}
}

// leftBeside: the import cleans up after itself.
func leftBeside(t *testing.T, store string) {
	t.Helper()
	left, err := filepath.Glob(filepath.Join(filepath.Dir(store), ".excpfs-import-*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %q, %v", left, err)
	}
}

// TestImportDeep: a series longer than the chains that a mount makes, with two checkpoints alike.
func TestImportDeep(t *testing.T) {
	python := needPython(t)
	from, store := series(t, python, "--deep"), t.TempDir()
	excpfs(t, 0, "import", "--excp", filepath.Join(from, "models"), filepath.Join(from, "models2"), filepath.Join(store, "run"))
	args := []string{"python/excp_archive.py", "compare", filepath.Join(from, "want/models2"), filepath.Join(taken(t, store), "run/models2")}
	var stored []int64
	for i := 1; i <= 9; i++ {
		name := fmt.Sprintf("checkpoint-%d00", i)
		args = append(args, name)
		stored = append(stored, sizeOf(t, filepath.Join(store, "run/models2", name, "model.safetensors.excp")))
	}
	must(t, python, args...)
	for i, n := range stored[1:] {
		if n > stored[0]*5/4 { // each is a difference to the one before
			t.Errorf("checkpoint-%d00 takes %d bytes, checkpoint-100 %d", i+2, n, stored[0])
		}
	}
}

// TestImportMounted reads an imported series through a mount.
func TestImportMounted(t *testing.T) {
	needFuse(t)
	python := needPython(t)
	from := series(t, python)
	store := t.TempDir()
	excpfs(t, 0, "import", "--excp", filepath.Join(from, "models"), filepath.Join(from, "models2"), filepath.Join(store, "run"))
	m := remount(t, store)
	checkSeries(t, python, from, m.path("run"))
	for _, d := range deltas {
		if s := m.state("run/" + d + "/model.safetensors"); s != "sealed" {
			t.Errorf("%s: the model is %s", d, s)
		}
	}
	m.umount(t)
}

// TestImportInterrupted: an import that was killed is repeated and ends the same.
func TestImportInterrupted(t *testing.T) {
	from := series(t, needPython(t))
	args := func(store string) []string {
		return []string{"import", "--excp", filepath.Join(from, "models"), filepath.Join(from, "models2"), filepath.Join(store, "run")}
	}
	whole := t.TempDir()
	excpfs(t, 0, args(whole)...)
	want := taken(t, whole)
	for _, pause := range []string{"0.02", "0.08", "0.2", "0.4"} {
		store := filepath.Join(t.TempDir(), "store")
		must(t, "mkdir", store)
		killed := command(t, "timeout", append([]string{"--signal=KILL", pause, binary}, args(store)...)...)
		r := excpfs(t, 0, args(store)...)
		t.Logf("killed after %s s (exit code %d), then: %s", pause, killed.code, strings.TrimSpace(r.stdout))
		must(t, "diff", "-r", want, taken(t, store))
		leftBeside(t, store)
	}
}

// TestImportFaults: nothing of a checkpoint that cannot be reconstructed gets into the store.
func TestImportFaults(t *testing.T) {
	python := needPython(t)
	from := series(t, python)
	models, store := filepath.Join(from, "models"), t.TempDir()
	fault := func(want string, args ...string) {
		t.Helper()
		r := command(t, binary, append([]string{"import", "--excp"}, args...)...)
		if r.code == 0 {
			t.Errorf("imported\n%v", r)
		}
		contains(t, r.stderr, want)
	}
	fault("must be full", filepath.Join(from, "models2"), filepath.Join(store, "run"))
	fault("no such file", filepath.Join(from, "none"), filepath.Join(store, "run"))
	fault("have one place", models, models, filepath.Join(store, "run"))
	fault("lie one in the other", models, filepath.Join(models, "x"))

	change(t, filepath.Join(models, "checkpoint-700/compressed.pt"), func(b []byte) []byte {
		return bytes.Replace(b, []byte("weights_i"), []byte("weights_x"), 1)
	})
	fault(`checkpoint-700: compressed.pt: tensor "embed_out.weight": unknown key "weights_x"`, models, filepath.Join(store, "run"))
	if _, err := os.Stat(filepath.Join(store, "run/checkpoint-700")); err == nil {
		t.Error("checkpoint-700 is in the store")
	}
	excpfs(t, 0, "verify", store)
	leftBeside(t, store)

	// What is there but is not what the import gives stays, and is told.
	config := filepath.Join(store, "run/checkpoint-600/config.json")
	if err := os.WriteFile(config, []byte("mine"), 0o644); err != nil {
		t.Fatal(err)
	}
	fault("config.json is in the store, but not as the import gives it", models, filepath.Join(store, "run"))
	if string(read(t, config)) != "mine" {
		t.Error("it was changed")
	}
}

// TestImportZipnn imports what ZipNN wrote: the fixtures of package zipnn.
func TestImportZipnn(t *testing.T) {
	from, store := filepath.Join(t.TempDir(), "llama"), t.TempDir()
	must(t, "mkdir", "-p", filepath.Join(from, "sub"))
	testdata := "../zipnn/testdata/"
	for name, to := range map[string]string{"all.znn.safetensors": "model-00001-of-00001.znn.safetensors", "pieces.znn": "sub/x.bin.znn"} {
		must(t, "cp", "-p", testdata+name, filepath.Join(from, to))
	}
	index := `{"weight_map":{"ones":"model-00001-of-00001.znn.safetensors"}}`
	if err := os.WriteFile(filepath.Join(from, "model.safetensors.index.json"), []byte(index), 0o644); err != nil {
		t.Fatal(err)
	}
	r := excpfs(t, 0, "import", "--zipnn", from, filepath.Join(store, "l"))
	contains(t, r.stdout, "3 files imported and compared")
	contains(t, r.stderr, `tensor "small": ZipNN left it uncompressed, with its bits reordered`)
	out := filepath.Join(t.TempDir(), "out")
	excpfs(t, 0, "unpack", filepath.Join(store, "l"), out)
	same(t, filepath.Join(out, "model-00001-of-00001.safetensors"), testdata+"all.plain")
	same(t, filepath.Join(out, "sub/x.bin"), testdata+"pieces.plain")
	if got := string(read(t, filepath.Join(out, "model.safetensors.index.json"))); got != strings.ReplaceAll(index, ".znn", "") {
		t.Errorf("index: %s", got)
	}
	contains(t, excpfs(t, 0, "import", "--zipnn", from, filepath.Join(store, "l")).stdout, "3 files were in the store already")

	r = excpfs(t, 1, "import", "--zipnn", testdata+"all.plain", filepath.Join(store, "m"))
	contains(t, r.stderr, "is no file of ZipNN")
	bad := filepath.Join(t.TempDir(), "bad.znn.safetensors")
	must(t, "cp", testdata+"chunks.znn.safetensors", bad)
	change(t, bad, func(b []byte) []byte { return bytes.Replace(b, []byte("ZN\x00\x05"), []byte("ZN\x00\x09"), 1) })
	r = excpfs(t, 1, "import", "--zipnn", bad, filepath.Join(store, "m"))
	contains(t, r.stderr, bad+": tensor ")
	contains(t, r.stderr, "ZipNN 0.9.")
	leftBeside(t, store)
}

func TestImportHelp(t *testing.T) {
	contains(t, excpfs(t, 0, "help").stdout, "\n  import ")
	for _, args := range [][]string{{"import", "--help"}, {"help", "import"}} {
		text := excpfs(t, 0, args...).stdout
		for _, part := range []string{"usage: excpfs import --excp", "Example:\n  excpfs import", "Exit codes: 0 "} {
			contains(t, text, part)
		}
	}
}
