package tests

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// modes of trainer_compare.py for a profile.
var modes = map[string]string{"exact": "exact", "excp": "lossy"}

// bothProfiles runs a test in each; the lossy one not with -short.
func bothProfiles(t *testing.T, test func(t *testing.T, profile string)) {
	for _, profile := range []string{"exact", "excp"} {
		t.Run(profile, func(t *testing.T) {
			if testing.Short() && profile == "excp" {
				t.Skip("skipped: the lossy profile, with -short")
			}
			test(t, profile)
		})
	}
}

// keptAndSealed copies what a script just wrote, lets the daemon compress it on its way
// out, and compares what another one shows with the copy.
func keptAndSealed(t *testing.T, python, profile string, write func(folder string)) *mounted {
	t.Helper()
	m := mount(t, "--profile", profile, "--settle", "1h")
	write(m.point)
	plain := t.TempDir()
	must(t, "cp", "-r", m.point+"/.", plain)
	if code := m.terminate(t); code != 0 {
		t.Fatalf("the daemon ended with code %d", code)
	}
	again := remount(t, m.store, append(quick, "--profile", profile)...)
	again.wait(t)
	t.Log(train(t, python, "trainer_compare.py", plain, again.point, modes[profile]))
	compressed(t, again, 0)
	excpfs(t, 0, "verify", again.store)
	return again
}

// TestTorchFiles saves checkpoints in all the forms torch.save has.
func TestTorchFiles(t *testing.T) {
	python := trainerPython(t, "torch", "safetensors")
	bothProfiles(t, func(t *testing.T, profile string) {
		keptAndSealed(t, python, profile, func(folder string) {
			t.Log(train(t, python, "trainer_torch.py", "files", folder, "1", "2", "3"))
		})
	})
}

// TestDistributedCheckpoint saves and loads with torch.distributed.checkpoint.
func TestDistributedCheckpoint(t *testing.T) {
	python := trainerPython(t, "torch", "safetensors")
	if r := exec.Command(python, "-c", "import torch.distributed.checkpoint"); r.Run() != nil {
		t.Skip("skipped: this torch was built without torch.distributed (EXCPFS_PYTHON names an interpreter with another)")
	}
	bothProfiles(t, func(t *testing.T, profile string) {
		keptAndSealed(t, python, profile, func(folder string) {
			train(t, python, "trainer_torch.py", "dcp", folder, "1", "2", "3")
		})
	})
}

// TestOverwriteMapped: safetensors writes a temporary file of the full size and renames
// it over one that is mapped, also one that is compressed; both keep their bytes.
func TestOverwriteMapped(t *testing.T) {
	if testing.Short() {
		t.Skip("skipped: with -short")
	}
	python := trainerPython(t, "torch", "safetensors")
	plain := t.TempDir()
	train(t, python, "trainer_torch.py", "mapped", plain, "3")
	bothProfiles(t, func(t *testing.T, profile string) {
		m := mount(t, "--profile", profile)
		for _, step := range []string{"1", "2", "3"} {
			train(t, python, "trainer_torch.py", "mapped", m.point, step)
			m.wait(t)
			compressed(t, m, 1)
		}
		t.Log(train(t, python, "trainer_compare.py", plain, m.point, modes[profile]))
		excpfs(t, 0, "verify", m.store)
	})
}

// TestLastCheckpoint writes last.ckpt in place each epoch, over its compressed former
// content, which is read first; the file of the epoch before is removed.
func TestLastCheckpoint(t *testing.T) {
	if testing.Short() {
		t.Skip("skipped: with -short")
	}
	python := trainerPython(t, "torch", "safetensors")
	plain := t.TempDir()
	train(t, python, "trainer_torch.py", "last", plain, "1", "2", "3")
	bothProfiles(t, func(t *testing.T, profile string) {
		m := mount(t, "--profile", profile)
		for _, epoch := range []string{"1", "2", "3"} {
			train(t, python, "trainer_torch.py", "last", m.point, epoch)
			m.wait(t)
		}
		t.Log(train(t, python, "trainer_compare.py", plain, m.point, modes[profile]))
		compressed(t, m, 0)
		excpfs(t, 0, "verify", m.store)
		m.umount(t)
		left, err := os.ReadDir(m.store)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range left {
			if name := strings.TrimSuffix(e.Name(), ".excp"); e.Name() != ".excpfs" && name != "last.ckpt" && name != "epoch=3.ckpt" {
				t.Errorf("%s is left", filepath.Join(m.store, e.Name()))
			}
		}
	})
}

// TestAccelerate saves with names of accelerate's own, of which it keeps two, and goes
// on from the last in another process.
func TestAccelerate(t *testing.T) {
	if testing.Short() {
		t.Skip("skipped: with -short")
	}
	python := trainerPython(t, "torch", "accelerate", "safetensors")
	plain := t.TempDir()
	want := train(t, python, "trainer_accelerate.py", plain, "0", "6")
	bothProfiles(t, func(t *testing.T, profile string) {
		m := mount(t, "--profile", profile)
		train(t, python, "trainer_accelerate.py", m.point, "0", "3")
		m.wait(t)
		compressed(t, m, 2)
		got := train(t, python, "trainer_accelerate.py", m.point, "3", "6")
		m.wait(t)
		mode := map[string]string{"exact": "exact", "excp": "alike"}[profile]
		t.Log(train(t, python, "trainer_compare.py", plain, m.point, mode))
		lossNear(t, profile, got, want)
		compressed(t, m, 2)
		excpfs(t, 0, "verify", m.store)
	})
}
