package seal

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"excpfs/archive"
)

// lay writes files under a folder and gives all one mtime.
func lay(t *testing.T, dir string, files map[string][]byte) {
	t.Helper()
	for name, b := range files {
		p := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, b, 0o640); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(p, time.Unix(1e9, 5), time.Unix(1e9, 5)); err != nil {
			t.Fatal(err)
		}
	}
}

// run is a training run's folder: checkpoints whose names do not sort by step as text.
func run() map[string][]byte {
	files := map[string][]byte{"config.json": []byte("{}")}
	md := newModel(20)
	for _, c := range []string{"checkpoint-800", "checkpoint-900", "checkpoint-1000"} {
		md.step()
		files[c+"/model.safetensors"] = md.weights()
		files[c+"/optimizer.safetensors"] = md.moments()
		files[c+"/trainer_state.json"] = []byte(c)
	}
	return files
}

func (r *rig) wantRun(at string) {
	r.Helper()
	r.wantBase(at+"/checkpoint-800/model.safetensors", "")
	r.wantBase(at+"/checkpoint-900/model.safetensors", at+"/checkpoint-800/model.safetensors")
	r.wantBase(at+"/checkpoint-1000/model.safetensors", at+"/checkpoint-900/model.safetensors")
	for _, c := range []string{"900", "1000"} {
		if _, ok := r.dep(at+"/checkpoint-"+c+"/optimizer.safetensors", archive.RoleWeights); !ok {
			r.Errorf("%s: the moments are not inside the mask", c)
		}
	}
}

func TestInPlace(t *testing.T) {
	var sealed []string
	r := newRig(t, Options{Progress: func(e Event) { sealed = append(sealed, e.Path) }})
	lay(t, filepath.Join(r.s.Path(), "run"), run())
	if err := r.l.InPlace(t.Context(), "run/checkpoint-900/model.safetensors"); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(sealed, []string{"run/checkpoint-900/model.safetensors"}) {
		t.Fatalf("sealed %v", sealed)
	}
	r = newRig(t, Options{Progress: func(e Event) { sealed = append(sealed, e.Path) }})
	lay(t, filepath.Join(r.s.Path(), "run"), run())
	for range 2 { // what is sealed is left
		sealed = nil
		if err := r.l.InPlace(t.Context(), ""); err != nil {
			t.Fatal(err)
		}
		r.wantRun("run")
	}
	if len(sealed) != 0 {
		t.Errorf("sealed again: %v", sealed)
	}
	if err := r.l.InPlace(t.Context(), "nowhere"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("nowhere: %v", err)
	}
}

func TestPackFolder(t *testing.T) {
	src := t.TempDir()
	files := run()
	lay(t, src, files)
	if err := os.Symlink("checkpoint-1000", filepath.Join(src, "latest")); err != nil {
		t.Fatal(err)
	}
	r := newRig(t, Options{})
	if err := r.l.Pack(t.Context(), []string{src}, "run"); err != nil {
		t.Fatal(err)
	}
	r.wantRun("run")
	for name, want := range files {
		if !r.sealed("run/"+name) && !bytes.Equal(r.get("run/"+name), want) {
			t.Errorf("%s: other bytes", name)
		}
		if strings.HasSuffix(name, ".safetensors") != r.sealed("run/"+name) {
			t.Errorf("%s: sealed %v", name, r.sealed("run/"+name))
		}
		d := r.folder(filepath.Dir("run/" + name))
		e, err := d.Lookup(filepath.Base(name))
		d.Release()
		if err != nil || e.Attr.Size != uint64(len(want)) || e.Attr.Mtime.Sec != 1e9 || e.Attr.Mtime.Nsec != 5 || e.Attr.Mode&0o777 != 0o640 {
			t.Errorf("%s: %+v, %v", name, e.Attr, err)
		}
	}
	d := r.folder("run")
	defer d.Release()
	if target, err := d.Readlink("latest"); err != nil || target != "checkpoint-1000" {
		t.Errorf("symlink %q, %v", target, err)
	}
	if left := r.s.Pending(); len(left) != 0 {
		t.Errorf("left in the queue: %v", left)
	}
}

func TestPackRefuses(t *testing.T) {
	src := t.TempDir()
	md := newModel(21)
	lay(t, src, map[string][]byte{"a": md.weights(), "b": md.step().weights()})
	a, b := filepath.Join(src, "a"), filepath.Join(src, "b")
	r := newRig(t, Options{})
	r.folder("dir").Release()
	r.put("dir/b", []byte("mine"))
	r.drain()
	for _, tt := range []struct {
		src  []string
		dest string
		want error
	}{
		{[]string{a, b}, "dir", fs.ErrExist},
		{[]string{a}, "dir/b", fs.ErrExist},
		{[]string{a, a}, "dir", fs.ErrExist},
		{[]string{a, filepath.Join(src, "none")}, "new", fs.ErrNotExist},
		{[]string{a, a}, "new", fs.ErrExist},
		{[]string{a, b}, "dir/b/deep", fs.ErrExist},
		{[]string{filepath.Join(src, "none")}, "x", fs.ErrNotExist},
		{[]string{r.s.Path()}, "x", nil},
	} {
		err := r.l.Pack(t.Context(), tt.src, tt.dest)
		if err == nil || tt.want != nil && !errors.Is(err, tt.want) {
			t.Errorf("pack %v to %s: %v, want %v", tt.src, tt.dest, err, tt.want)
		}
	}
	if es, _ := os.ReadDir(filepath.Join(r.s.Path(), "dir")); len(es) != 1 {
		t.Errorf("something was written: %v", es)
	}
	if err := r.l.Pack(t.Context(), []string{a}, "dir"); err != nil || !r.sealed("dir/a") {
		t.Errorf("pack into a folder: %v", err)
	}
}

func TestGivenBase(t *testing.T) {
	src := t.TempDir()
	md := newModel(22)
	lay(t, src, map[string][]byte{"1": md.weights(), "2": md.step().weights(), "3": md.step().weights(), "other": md.moments()})
	r := newRig(t, Options{})
	for _, n := range []string{"1", "2"} {
		if err := r.l.Pack(t.Context(), []string{filepath.Join(src, n)}, n); err != nil {
			t.Fatal(err)
		}
	}
	given := r.with(Options{Base: "1"})
	if err := given.l.Pack(t.Context(), []string{filepath.Join(src, "3")}, "3"); err != nil {
		t.Fatal(err)
	}
	r.wantBase("2", "1")
	r.wantBase("3", "1")
	if err := given.l.Pack(t.Context(), []string{filepath.Join(src, "other")}, "other"); err == nil {
		t.Error("a base that fits nothing was accepted")
	}
}

// A real run, with everything that lies beside the tensors, comes back bit for bit.
func TestPackExactly(t *testing.T) {
	src := "../tests/testdata/chain"
	if _, err := os.Stat(src); err != nil {
		t.Skipf("no small chain: %v", err)
	}
	r := newRig(t, Options{Profile: exact})
	var logical, stored int64
	r.l.o.Progress = func(e Event) { logical, stored = logical+e.Logical, stored+e.Stored }
	if err := r.l.Pack(t.Context(), []string{src}, "run"); err != nil {
		t.Fatal(err)
	}
	err := filepath.WalkDir(src, func(p string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		rel, _ := filepath.Rel(src, p)
		want, err := os.ReadFile(p)
		if err == nil && !bytes.Equal(r.get("run/"+rel), want) {
			t.Errorf("%s: other bytes", rel)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := r.index("run/dev/checkpoint-600/model.safetensors"); got.Depth != 1 {
		t.Errorf("no base taken in a chain: depth %d", got.Depth)
	}
	t.Logf("%d -> %d", logical, stored)
}
