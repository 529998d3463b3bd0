package store

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func (e *env) queued() string {
	var names []string
	for _, p := range e.s.Pending() {
		names = append(names, join(p.Dir.Path(), p.Name))
	}
	return strings.Join(names, " ")
}

func (e *env) queueIs(want string) {
	e.t.Helper()
	if got := e.queued(); got != want {
		e.t.Fatalf("queue is %q, want %q", got, want)
	}
}

// Only what was written through the store is queued, and that survives being killed.
func TestQueueSurvives(t *testing.T) {
	e := &env{t: t, dir: t.TempDir()}
	e.must(os.WriteFile(filepath.Join(e.dir, "old"), []byte("x"), 0o644))
	e.open()
	defer e.close()
	e.queueIs("")
	e.mkdir("d")
	e.write("d/a", contentA)
	e.write("gone", contentA)
	e.queueIs("d/a gone")
	root := e.s.Root()
	e.must(root.Unlink("gone"))
	e.must(root.Rename("d", root, "e \xff", 0))
	e.queueIs("e \xff/a")
	d, err := e.s.Dir("e \xff")
	e.must(err)
	e.must(d.Rename("a", root, "b", 0))
	e.queueIs("b")
	for _, b := range []string{"half a line +", ""} { // of a process that was killed while it wrote
		f, err := os.OpenFile(filepath.Join(e.dir, private, "queue"), os.O_WRONLY|os.O_APPEND, 0)
		e.must(err)
		f.WriteString(b)
		f.Close()
		e.reopen()
		e.queueIs("b")
	}
	e.must(e.trySeal("b", nil))
	e.queueIs("")
	e.reopen()
	e.queueIs("")
	e.form("b", Sealed)
	e.form("old", Plain)
}

func TestQueueLeaves(t *testing.T) {
	e := &env{t: t, dir: t.TempDir()}
	old := filepath.Join(e.dir, "old")
	e.must(os.WriteFile(old, []byte("x"), 0o644))
	e.open()
	defer e.close()
	d := e.s.Root()
	h, err := d.Open("old", unix.O_RDWR)
	e.must(err)
	p, ok := e.pending("old")
	if !ok || !p.Writing || !p.Open || !p.Settled.IsZero() {
		t.Fatalf("%v %+v", ok, p)
	}
	h.Release()
	e.queueIs("") // nothing was written

	h, err = d.Open("old", unix.O_RDWR)
	e.must(err)
	_, err = h.WriteAt([]byte("y"), 0)
	e.must(err)
	h.Release()
	p, ok = e.pending("old")
	if !ok || p.Writing || p.Open || p.Settled.IsZero() {
		t.Fatalf("%v %+v", ok, p)
	}
	e.s.Sealing(p)
	e.state("old", "sealing")
	e.s.Done(p, "not a tensor file")
	e.queueIs("")
	e.state("old", "plain: not a tensor file")
	e.write("old", []byte("again"))
	e.state("old", "settling")
	p, _ = e.pending("old")
	e.s.Failed(p, "cannot be proved")
	e.queueIs("")
	e.state("old", "failed: cannot be proved")
	e.must(os.Remove(old))
	e.must(os.WriteFile(old, []byte("another"), 0o644))
	e.queueIs("")
	e.state("old", "plain")
	e.must(e.s.Enqueue(d, "old"))
	e.queueIs("old")
}

func (e *env) state(path, want string) {
	e.t.Helper()
	d, name := e.at(path)
	got, err := d.Getxattr(name, "user.excpfs.state")
	if err != nil || string(got) != want {
		e.t.Fatalf("state of %s is %q (%v), want %q", path, got, err, want)
	}
}

func TestParseQueue(t *testing.T) {
	for text, want := range map[string]string{
		"":                                       "",
		"+ 1.2 \"a\"\n":                          "a",
		"+ 1.2 \"a\"":                            "",
		"+ 1.2 \"a\"\n- 1.2\n":                   "",
		"+ 1.2 \"a\"\n- 1.2\n+ 1.2 \"b\"\n":      "b",
		"+ 1.2 \"a\"\nnonsense\n+ 3.4 \"b c\"\n": "a|b c",
		"+ 3.4 \"x\\xff\"\n+ 1.2 \"a\"\n+ 3.4 \"y\"\n": "y|a",
	} {
		paths, order := parseQueue([]byte(text))
		var got []string
		for _, k := range order {
			got = append(got, paths[k])
		}
		if strings.Join(got, "|") != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

// The journal does not grow for ever.
func TestJournalCompacts(t *testing.T) {
	e := newEnv(t)
	e.write("stays", []byte("x"))
	root := e.s.Root()
	name := strings.Repeat("n", 200)
	for i := range 6000 {
		e.write(fmt.Sprint(name, i), nil)
		e.must(root.Unlink(fmt.Sprint(name, i)))
	}
	fi, err := os.Stat(filepath.Join(e.dir, private, "queue"))
	e.must(err)
	if fi.Size() > 3<<19 {
		t.Fatalf("queue has %d bytes", fi.Size())
	}
	e.reopen()
	e.queueIs("stays")
}
