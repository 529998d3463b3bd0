package tests

import (
	"encoding/json"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// listed is a line of ls --json.
type listed struct {
	Path, State, Base string
	Logical, Stored   int64
}

func list(t *testing.T, at string) map[string]listed {
	t.Helper()
	var all []listed
	if err := json.Unmarshal([]byte(excpfs(t, 0, "ls", "--json", at).stdout), &all); err != nil {
		t.Fatal(err)
	}
	byPath := map[string]listed{}
	for _, l := range all {
		byPath[l.Path] = l
	}
	return byPath
}

// TestStaysPlain: what is not to be compressed is no failure, and wait, umount, the
// log, ls and the xattr say why.
func TestStaysPlain(t *testing.T) {
	m := mount(t)
	model := read(t, filepath.Join(checkpoint("500"), "model.safetensors"))
	long := strings.Repeat("n", 251)
	reasons := map[string]string{long: "its name is too long", "one": "more than one hard link", "noise": "not a tensor file", "small": "under 64 KiB"}
	noise := make([]byte, 100<<10)
	for i := range noise {
		noise[i] = byte(rand.Uint32())
	}
	for name, data := range map[string][]byte{long: model, "one": model, "noise": noise, "small": noise[:1000]} {
		if err := os.WriteFile(m.path(name), data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Link(m.path("one"), m.path("other")); err != nil {
		t.Fatal(err)
	}
	r := excpfs(t, 0, "wait", m.point)
	contains(t, r.stderr, "1 file stays plain, its name is too long for that of an archive: "+m.path(long)+"\n")
	contains(t, r.stderr, "2 files stay plain, more than one hard link: "+m.path("one")+", "+m.path("other")+"\n")
	contains(t, r.stderr, "1 file stays plain, not a tensor file: "+m.path("noise")+"\n")
	contains(t, r.stderr, "1 file stays plain, under 64 KiB\n")
	files := list(t, m.store)
	for name, reason := range reasons {
		if s := m.state(name); !strings.HasPrefix(s, "plain: "+reason) || files[name].State != s {
			t.Errorf("%.20s: state %q, ls has %q, want %q", name, s, files[name].State, reason)
		}
	}
	r = excpfs(t, 0, "umount", m.point)
	contains(t, r.stderr, "1 file stays plain, not a tensor file: "+m.path("noise")+"\n")
	<-m.ended
	for name, reason := range reasons {
		logged := strings.Count(m.log.String(), "file="+name+" reason=\""+reason)
		if want := map[bool]int{true: 0, false: 1}[name == "small"]; logged != want {
			t.Errorf("%.20s: %d times in the log, want %d\n%s", name, logged, want, m.log)
		}
	}
}

// TestStatesAgree: of a mounted store ls knows what waits, as the xattr does, by
// whichever path it is asked, and though another mount only reads.
func TestStatesAgree(t *testing.T) {
	m := mount(t, "--settle", "1h")
	must(t, "cp", "-r", checkpoint("500"), m.point)
	remount(t, m.store, "-o", "ro")
	for _, at := range []string{m.point, m.store, filepath.Join(m.store, "checkpoint-500")} {
		for path, l := range list(t, at) {
			if s := m.state(path); s != "settling" || l.State != s {
				t.Errorf("%s: state %q, ls %s has %q", path, s, at, l.State)
			}
		}
		if out := excpfs(t, 0, "ls", at).stdout; !regexp.MustCompile(`\n4 files, 1\.\d MiB wait to be compressed\n$`).MatchString(out) {
			t.Errorf("no backlog in:\n%s", out)
		}
	}
}

// TestDamagedState: an archive that cannot be opened has failed, in ls as in the xattr.
func TestDamagedState(t *testing.T) {
	store := sealedStore(t)
	change(t, filepath.Join(store, "checkpoint-500/model.safetensors.excp"), func(b []byte) []byte { return b[:len(b)/2] })
	const path = "checkpoint-500/model.safetensors"
	alone := list(t, store)[path].State
	m := remount(t, store)
	state, mounted := m.state(path), list(t, store)[path].State
	if !strings.HasPrefix(state, "failed: ") || mounted != state || !strings.HasPrefix(alone, "failed: ") {
		t.Errorf("xattr %q, ls of the mounted store %q, of the store alone %q", state, mounted, alone)
	}
}

// TestBases: ls and the xattr name the same base, of moments that of their weights,
// also when it was renamed or deleted.
func TestBases(t *testing.T) {
	m := mount(t)
	for _, step := range []string{"500", "600"} {
		m.add(t, checkpoint(step))
	}
	agree := func(want string) {
		t.Helper()
		files := list(t, m.store)
		for _, name := range []string{"model", "optimizer"} {
			path := "checkpoint-600/" + name + ".safetensors"
			x := must(t, "getfattr", "--only-values", "-n", "user.excpfs.base", m.path(path))
			if l := files[path].Base; l != x || !regexp.MustCompile("^"+want+"$").MatchString(x) {
				t.Errorf("base of %s: xattr %q, ls %q, want %s", path, x, l, want)
			}
		}
	}
	agree("checkpoint-500/model.safetensors")
	if err := os.Rename(m.path("checkpoint-500"), m.path("first")); err != nil {
		t.Fatal(err)
	}
	agree("first/model.safetensors")
	if err := os.RemoveAll(m.path("first")); err != nil {
		t.Fatal(err)
	}
	agree("retained [0-9a-f]{12}")
}

// TestSparseStored: a plain file takes what its blocks take.
func TestSparseStored(t *testing.T) {
	dir := t.TempDir()
	must(t, "truncate", "-s", "10M", filepath.Join(dir, "hole"))
	if l := list(t, dir)["hole"]; l.Logical != 10<<20 || l.Stored > 1<<20 {
		t.Errorf("%+v", l)
	}
}

// TestVerifyTellsOnce: each fault of a file is one line, and names the file once, also
// where a weight is damaged that both its moments need.
func TestVerifyTellsOnce(t *testing.T) {
	m := mount(t)
	m.add(t, checkpoint("500"))
	m.add(t, checkpoint("600"))
	m.umount(t)
	change(t, filepath.Join(m.store, "checkpoint-600/model.safetensors.excp"), func(b []byte) []byte {
		for at := len(b) / 8; at < len(b)*5/8; at += 512 {
			b[at] ^= 1
		}
		return b
	})
	r := excpfs(t, 3, "verify", m.store)
	seen := map[string]bool{}
	for _, line := range strings.Split(strings.TrimSpace(r.stderr), "\n") {
		if name, rest, _ := strings.Cut(line, ": "); seen[line] || strings.HasPrefix(rest, name+": ") {
			t.Errorf("twice: %s", line)
		}
		seen[line] = true
	}
	contains(t, r.stderr, "checkpoint-600/optimizer.safetensors: ")
}
