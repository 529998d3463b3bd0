package tests

import (
	"bytes"
	"crypto/sha256"
	le "encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestKill ends the daemon with SIGKILL at random moments of copying and
// compressing. After each mount again, every file is the old or the new one,
// whole, what was settled is there to the byte, and verify passes. Every other
// round is of profile excp: there the new one is the original until it is
// compressed, then what the encoder made of it, from its first read on.
func TestKill(t *testing.T) {
	moments := 50
	if testing.Short() {
		moments = 8
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	k := killer{random: rand.New(rand.NewPCG(seed, 0)), store: t.TempDir(), settled: map[string][32]byte{}}
	for i := range moments {
		k.round(t, i)
		if t.Failed() {
			return
		}
	}
	t.Logf("%d moments, %d files settled, %d found compressed", moments, len(k.settled), k.sealed)
}

type killer struct {
	random  *rand.Rand
	store   string
	settled map[string][32]byte // path below the mount to its hash
	sealed  int
}

// profile of a round.
func profile(i int) string { return []string{"exact", "excp"}[i%2] }

// round copies a checkpoint, over an earlier one every third time, until the
// daemon is killed, and looks at what is there after the next mount.
func (k *killer) round(t *testing.T, i int) {
	flags := append(quick[:len(quick):len(quick)], "--profile", profile(i))
	m := remount(t, k.store, flags...)
	k.check(t, m, nil)
	step := []string{"500", "600", "700"}[i%3]
	name := fmt.Sprintf("run%d", i/2%8)
	copied := make(chan struct{})
	go func() {
		defer close(copied)
		copyInto(checkpoint(step), m.path(name))
	}()
	time.Sleep(time.Duration(k.random.IntN(700)) * time.Millisecond)
	m.kill()
	<-copied
	m = remount(t, k.store, flags...)
	changed := func(path string, got []byte) bool {
		switch file := filepath.Base(path); {
		case !strings.HasPrefix(path, name+"/"):
			return false
		case acceptable(file, got, bytes.Equal):
			return true
		case profile(i) == "exact" || m.state(path) != "sealed" || !acceptable(file, got, sameHeader):
			return false
		}
		k.settled[path] = sha256.Sum256(got)
		return true
	}
	k.check(t, m, changed)
	// What was cut off is removed, as its writer would; the rest settles.
	k.prune(t, m)
	m.wait(t)
	k.check(t, m, changed)
	k.settle(t, m)
	m.umount(t)
	excpfs(t, 0, "verify", k.store)
}

// copyInto writes as a saver does: temporary name, then rename over.
func copyInto(from, to string) {
	if os.MkdirAll(to, 0o755) != nil {
		return
	}
	for _, name := range []string{"model.safetensors", "optimizer.safetensors", "trainer_state.json"} {
		b, err := os.ReadFile(filepath.Join(from, name))
		if err != nil {
			return
		}
		tmp := filepath.Join(to, "."+name+".tmp")
		if os.WriteFile(tmp, b, 0o644) != nil || os.Rename(tmp, filepath.Join(to, name)) != nil {
			return
		}
	}
}

// acceptable tells whether content under a final name is one of the originals, or like one.
func acceptable(name string, got []byte, like func(a, b []byte) bool) bool {
	for _, step := range []string{"500", "600", "700"} {
		want, err := os.ReadFile(filepath.Join(checkpoint(step), name))
		if err == nil && like(got, want) {
			return true
		}
	}
	return false
}

// sameHeader is what two tensor files of one layout have in common.
func sameHeader(a, b []byte) bool {
	if len(a) < 8 || len(a) != len(b) || string(a[:8]) != string(b[:8]) {
		return false
	}
	end := 8 + le.LittleEndian.Uint64(a)
	return end <= uint64(len(a)) && bytes.Equal(a[:end], b[:end])
}

// check reads every file: the settled ones have their bytes, or, in the folder
// that was being written, what changed allows.
func (k *killer) check(t *testing.T, m *mounted, changed func(path string, got []byte) bool) {
	t.Helper()
	seen := map[string]bool{}
	k.each(t, m, func(rel string, b []byte) {
		seen[rel] = true
		want, known := k.settled[rel]
		switch {
		case known && sha256.Sum256(b) == want:
		case changed != nil && changed(rel, b):
		case strings.HasSuffix(rel, ".tmp") && !known:
		default:
			t.Errorf("%s is neither the old nor the new file (%d bytes, state %s)", rel, len(b), m.state(rel))
		}
	})
	for rel := range k.settled {
		if !seen[rel] {
			t.Errorf("%s was settled and is gone", rel)
		}
	}
}

func (k *killer) each(t *testing.T, m *mounted, fn func(rel string, b []byte)) {
	t.Helper()
	err := filepath.WalkDir(m.point, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		rel, _ := filepath.Rel(m.point, path)
		if err == nil {
			fn(rel, b)
		}
		return err
	})
	if err != nil {
		t.Errorf("the mount cannot be read: %v", err)
	}
}

func (k *killer) prune(t *testing.T, m *mounted) {
	k.each(t, m, func(rel string, _ []byte) {
		if strings.HasSuffix(rel, ".tmp") {
			if err := os.Remove(m.path(rel)); err != nil && !errors.Is(err, os.ErrNotExist) {
				t.Error(err)
			}
		}
	})
}

func (k *killer) settle(t *testing.T, m *mounted) {
	k.each(t, m, func(rel string, b []byte) {
		k.settled[rel] = sha256.Sum256(b)
		if m.state(rel) == "sealed" {
			k.sealed++
		}
	})
}

// TestTerminate: what was written through a shared mapping and just closed is
// whole after SIGTERM, and compressed.
func TestTerminate(t *testing.T) {
	python := needPython(t)
	m := mount(t, "--profile", "exact", "--settle", "1h")
	script := `import mmap, sys
data = open(sys.argv[1], "rb").read()
with open(sys.argv[2], "w+b") as f:
    f.truncate(len(data))
    m = mmap.mmap(f.fileno(), len(data))
m[:] = data
m.close()`
	original := filepath.Join(checkpoint("500"), "model.safetensors")
	must(t, python, "-c", script, original, m.path("model.safetensors"))
	if code := m.terminate(t); code != 0 {
		t.Errorf("the daemon ended with code %d", code)
	}
	if leftovers()[m.point] {
		t.Error("still mounted after SIGTERM")
	}
	if _, err := os.Stat(filepath.Join(m.store, "model.safetensors.excp")); err != nil {
		t.Errorf("not compressed on the way out: %v", err)
	}
	again := remount(t, m.store)
	same(t, again.path("model.safetensors"), original)
}
