package tests

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// dressedTree is a checkpoint with all kinds of metadata that pack and unpack have to keep.
func dressedTree(t *testing.T) string {
	t.Helper()
	needRoot(t)
	dir := filepath.Join(t.TempDir(), "tree")
	must(t, "cp", "-r", checkpoint("500"), dir)
	script := `
		mkdir empty sub && cp model.safetensors sub/ && ln -s ../config.json sub/link
		setfattr -n user.note -v weights model.safetensors
		setfattr -n user.note -v text config.json
		setfattr -n user.note -v folder sub
		if setfacl -m u:1234:rw model.safetensors 2>/dev/null; then
			setfacl -m u:1234:r config.json && setfacl -d -m u:1234:rx sub && setfacl -m u:1234:rx empty
		fi
		chown 1001:1002 model.safetensors config.json && chown 1003:1004 sub && chown -h 1005:1006 sub/link
		chmod 6751 model.safetensors && chmod 4750 config.json && chmod 444 trainer_state.json
		chmod 3775 sub && chmod 700 empty
		touch -h -d '2001-02-03 04:05:06.789' sub/link && touch -d '2002-02-02 02:02:02.5' sub/model.safetensors *.*
		touch -d '2003-03-03 03:03:03.25' sub && touch -d '2004-04-04 04:04:04' empty && touch -d '2005-05-05 05:05:05' .`
	if r := commandIn(t, dir, nil, "sh", "-e", "-c", script); r.code != 0 {
		t.Skipf("the file system keeps no such metadata: %v", r)
	}
	return dir
}

// metadata lists modes, owners, times, xattrs and ACLs below a folder, names as users see them.
func metadata(t *testing.T, dir string) string {
	t.Helper()
	r := commandIn(t, dir, []string{"LC_ALL=C"}, "sh", "-c", `
		find . -printf '%P %y %m %U:%G %T@ %l\n' | sort
		find . | sort | xargs getfattr -h -d -m 'user|system'`)
	return strings.NewReplacer(".excp\n", "\n", ".excp ", " ").Replace(r.stdout)
}

func TestMetadataKept(t *testing.T) {
	if _, err := exec.LookPath("getfattr"); err != nil {
		t.Skip("no getfattr")
	}
	tree, store := dressedTree(t), t.TempDir()
	want := metadata(t, tree)
	excpfs(t, 0, "pack", "--profile", "exact", tree, store)
	if _, err := os.Stat(filepath.Join(store, "tree/sub/model.safetensors.excp")); err != nil {
		t.Fatal(err)
	}
	if got := metadata(t, filepath.Join(store, "tree")); got != want {
		t.Errorf("packed:\n%s\nwant:\n%s", got, want)
	}
	out := t.TempDir()
	excpfs(t, 0, "unpack", filepath.Join(store, "tree"), out)
	if got := metadata(t, filepath.Join(out, "tree")); got != want {
		t.Errorf("unpacked:\n%s\nwant:\n%s", got, want)
	}
	must(t, "diff", "-r", tree, filepath.Join(out, "tree"))
}

// TestUnpackDamaged: the other files are written, the damaged one leaves nothing behind.
func TestUnpackDamaged(t *testing.T) {
	store, out := t.TempDir(), t.TempDir()
	excpfs(t, 0, "pack", "--profile", "exact", checkpoint("500"), checkpoint("600"), store)
	change(t, filepath.Join(store, "checkpoint-600/model.safetensors.excp"), func(b []byte) []byte { b[16+len(b)/3] ^= 1; return b })
	r := excpfs(t, 3, "unpack", filepath.Join(store, "checkpoint-600"), filepath.Join(store, "checkpoint-500"), out)
	contains(t, r.stderr, "checkpoint-600/model.safetensors: ")
	if strings.Contains(r.stderr, "model.safetensors: checkpoint-600/model.safetensors: ") {
		t.Errorf("the name is there twice: %s", r.stderr)
	}
	for _, name := range []string{"500/model.safetensors", "500/config.json", "600/config.json", "600/trainer_state.json"} {
		same(t, filepath.Join(out, "checkpoint-"+name), filepath.Join(fixture, "checkpoint-"+name))
	}
	entries, err := os.ReadDir(filepath.Join(out, "checkpoint-600"))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.Name() == "model.safetensors" || strings.HasPrefix(e.Name(), ".") {
			t.Errorf("%s was left behind", e.Name())
		}
	}
}
