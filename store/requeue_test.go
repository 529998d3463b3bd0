package store

import (
	"strings"
	"testing"
)

// A file that stayed plain for its name is queued again with one that an archive can have.
func TestShorterNameQueues(t *testing.T) {
	e := newEnv(t)
	root := e.s.Root()
	other := strings.Repeat("o", len(longName))
	e.write(longName, contentA)
	p, _ := e.pending(longName)
	e.s.Done(p, "its name is too long")
	e.queueIs("")
	e.must(root.Rename(longName, root, other, 0))
	e.queueIs("")
	e.must(root.Rename(other, root, "a", 0))
	e.queueIs("a")
	e.must(e.trySeal("a", nil))
	e.holds("a", contentA)

	// For another reason, or never written through a mount: it stays where it is.
	e.write("b", contentB)
	p, _ = e.pending("b")
	e.s.Done(p, "not a tensor file")
	e.must(root.Rename("b", root, "c", 0))
	e.foreign(longName)
	e.must(root.Rename(longName, root, "d", 0))
	e.queueIs("")
}

// So is one that had other names, under the one that is left.
func TestLastLinkQueues(t *testing.T) {
	for _, gone := range []string{"a", "sub/b"} {
		for _, judged := range []bool{false, true} {
			e := newEnv(t)
			left := map[string]string{"a": "moved/b", "sub/b": "a"}[gone]
			e.mkdir("sub")
			e.write("a", contentA)
			e.link("a", "sub/b")
			if judged {
				p, _ := e.pending("a")
				e.s.Done(p, "more than one hard link")
				e.queueIs("")
			}
			root := e.s.Root()
			e.must(root.Rename("sub", root, "moved", 0))
			e.unlink(strings.Replace(gone, "sub", "moved", 1))
			e.queueIs(left)
			e.must(e.trySeal(left, nil))
			e.holds(left, contentA)
		}
	}
	e := newEnv(t)
	e.seal("a", contentA, nil)
	e.link("a", "b")
	e.must(e.patch("a", "patched"))
	p, _ := e.pending("a")
	e.s.Done(p, "more than one hard link")
	e.unlink("a")
	e.queueIs("b")
	e.holds("b", patched)

	e = newEnv(t)
	e.foreign("a")
	e.link("a", "b")
	e.unlink("a")
	e.queueIs("")
}
