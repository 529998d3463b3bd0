package store

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestEscape(t *testing.T) {
	for _, c := range []struct{ user, host string }{
		{"a", "a"},
		{"a~", "a~"},
		{"a.excp", "a.excp~"},
		{"a.excp~", "a.excp~~"},
		{"a.excp~~~", "a.excp~~~~"},
		{".excp", ".excp~"},
		{"~", "~"},
		{"a.excp~b", "a.excp~b"},
		{"a.excpfs", "a.excpfs"},
		{"a.excp.excp", "a.excp.excp~"},
	} {
		if got := esc(c.user); got != c.host {
			t.Errorf("esc(%q) = %q, want %q", c.user, got, c.host)
		}
		if got := unesc(c.host); got != c.user {
			t.Errorf("unesc(%q) = %q, want %q", c.host, got, c.user)
		}
		if got, ok := archiveOf(archiveName(c.user)); !ok || got != c.user {
			t.Errorf("archiveOf(%q) = %q, %v, want %q", archiveName(c.user), got, ok, c.user)
		}
	}
	for _, host := range []string{".excp", "a", "a.excp~", "a.excp.excp"} {
		if user, ok := archiveOf(host); ok {
			t.Errorf("%q is taken for the archive of %q", host, user)
		}
	}
}

// esc and unesc are inverse, and no two names share a host name, whatever their form.
func FuzzEscape(f *testing.F) {
	for _, s := range []string{"a", ".excp", "a.excp", "a.excp~~", "~", "a.excp.excp", "a.excp~.excp"} {
		f.Add(s, s+"~")
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		if a == "" || b == "" {
			return
		}
		if unesc(esc(a)) != a {
			t.Fatalf("%q -> %q -> %q", a, esc(a), unesc(esc(a)))
		}
		if user, ok := archiveOf(archiveName(a)); !ok || user != a {
			t.Fatalf("archive %q -> %q", archiveName(a), user)
		}
		if strings.HasSuffix(esc(a), suffix) {
			t.Fatalf("%q looks like an archive", esc(a))
		}
		if a != b && (esc(a) == esc(b) || archiveName(a) == archiveName(b) || esc(a) == archiveName(b)) {
			t.Fatalf("%q and %q meet", a, b)
		}
		// A host name that is no escaped name and no archive's is shown as it is, or under a name that leads back.
		if !strings.HasSuffix(b, suffix) && esc(unesc(b)) != b {
			t.Fatalf("host %q is shown as %q, which is %q", b, unesc(b), esc(unesc(b)))
		}
	})
}

// A user's own files called *.excp, made here or there before.
func TestUserExcp(t *testing.T) {
	e := newEnv(t)
	e.must(os.WriteFile(filepath.Join(e.dir, "old.excp"), []byte("not an archive"), 0o644))
	e.must(os.Mkdir(filepath.Join(e.dir, "dir.excp"), 0o755))
	e.holds("old.excp", []byte("not an archive"))
	e.absent("old")
	if e.entry("dir.excp").Dir == nil {
		t.Fatal("dir.excp is no folder")
	}
	e.write("dir.excp/f", []byte("in"))
	e.holds("dir.excp/f", []byte("in"))

	a := content(1, 0)
	e.seal("new.excp", a, nil)
	e.holds("new.excp", a)
	e.write("old.excp", []byte("rewritten"))
	e.holds("old.excp", []byte("rewritten"))
	e.reopen()
	e.holds("new.excp", a)
	list, err := e.s.Root().ReadDir()
	e.must(err)
	var names []string
	for _, x := range list {
		names = append(names, x.Name)
	}
	slices.Sort(names)
	if want := []string{"dir.excp", "new.excp", "old.excp"}; !slices.Equal(names, want) {
		t.Fatalf("listed %q, want %q", names, want)
	}
	root := e.s.Root()
	e.must(root.Rename("old.excp", root, "moved", 0))
	e.must(root.Rename("new.excp", root, "old.excp", 0))
	e.holds("old.excp", a)
	e.holds("moved", []byte("rewritten"))
	e.must(root.Unlink("old.excp"))
	e.must(root.Unlink("moved"))
	if got := e.list(""); !slices.Equal(got, []string{private, "dir.excp"}) {
		t.Fatalf("left %q", got)
	}
}

// A name too long for the suffix stays plain; renaming a sealed file to one thaws it.
func TestLongName(t *testing.T) {
	e := newEnv(t)
	a := content(1, 0)
	e.seal("a", a, nil)
	ino := e.entry("a").Attr.Ino
	long := strings.Repeat("x", 253)
	root := e.s.Root()
	e.must(root.Rename("a", root, long, 0))
	e.form(long, Plain)
	e.holds(long, a)
	e.absent("a")
	if got := e.entry(long).Attr.Ino; got != ino {
		t.Fatalf("inode number %d, was %d", got, ino)
	}
	e.clean()
	e.wants(e.trySeal(long, nil), unix.ENAMETOOLONG)
	e.clean()

	e.seal("b", a, nil)
	_, err := root.Link("b", root, strings.Repeat("y", 254))
	e.must(err)
	e.form("b", Plain)
	e.holds(strings.Repeat("y", 254), a)
	_, err = root.Lookup(strings.Repeat("z", 256))
	e.wants(err, unix.ENAMETOOLONG)
}
