package store

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"excpfs/archive"

	"golang.org/x/sys/unix"
)

// state is what names hold; a name that is not in it is not there.
type state map[string][]byte

// scenario is an operation that is stopped at each of its host operations in turn.
type scenario struct {
	name   string
	setup  func(e *env)
	run    func(e *env) error
	names  []string // to look at
	states []state  // each whole; the last one is that after success
}

var (
	contentA = content(1, 0)
	contentB = content(1, 1)
	contentD = content(1, 2) // in "dep", with contentA or contentB as base
	patched  = func() []byte {
		b := bytes.Clone(contentA)
		copy(b[200:], "patched")
		return b
	}()
)

var errStop = fmt.Errorf("stopped: %w", unix.EIO)

func scenarios() []scenario {
	list := []scenario{
		{
			name:   "swap",
			setup:  func(e *env) { e.seal("base", contentB, nil); e.write("a", contentA) },
			run:    func(e *env) error { return e.trySeal("a", contentB) },
			states: []state{{"a": contentA, "base": contentB}},
		},
		{
			name:   "thaw and change",
			setup:  sealBase,
			run:    func(e *env) error { return e.patch("a", "patched") },
			states: []state{{"a": contentA, "dep": contentD}, {"a": patched, "dep": contentD}},
		},
		{
			name:   "thaw and close unchanged",
			setup:  sealBase,
			run:    func(e *env) error { return e.patch("a", "") },
			states: []state{{"a": contentA, "dep": contentD}},
		},
		{
			name: "thaw a hard link",
			setup: func(e *env) {
				sealBase(e)
				e.mkdir("sub")
				e.link("a", "sub/b")
			},
			run: func(e *env) error { return e.patch("a", "patched") },
			states: []state{{"a": contentA, "sub/b": contentA, "dep": contentD},
				{"a": patched, "sub/b": patched, "dep": contentD}},
		},
		{
			name:   "thaw a hard link and close unchanged",
			setup:  func(e *env) { sealBase(e); e.link("a", "b") },
			run:    func(e *env) error { return e.patch("b", "") },
			states: []state{{"a": contentA, "b": contentA, "dep": contentD}},
			names:  []string{"b"},
		},
		{
			name:  "first change",
			setup: func(e *env) {},
			run: func(e *env) error {
				d, _ := e.at("")
				_, h, err := d.Create("a", unix.O_RDWR, 0o600, me)
				closeIf(h)
				return err
			},
			states: []state{{}, {"a": {}}},
		},
		{
			name:   "place",
			setup:  func(e *env) { e.seal("base", contentB, nil) },
			run:    func(e *env) error { return e.place("a", contentA, contentB) },
			states: []state{{"base": contentB}, {"a": contentA, "base": contentB}},
		},
		{
			name:  "truncate at open",
			setup: sealBase,
			run:   func(e *env) error { return e.overwrite("a", contentB) },
			states: []state{{"a": contentA, "dep": contentD}, {"a": {}, "dep": contentD},
				{"a": contentB, "dep": contentD}},
		},
		{
			name:   "unlink what is needed",
			setup:  sealBase,
			run:    func(e *env) error { d, _ := e.at(""); return d.Unlink("a") },
			states: []state{{"a": contentA, "dep": contentD}, {"dep": contentD}},
		},
		{
			name:   "unlink the newest",
			setup:  func(e *env) { e.seal("a", contentA, nil) },
			run:    func(e *env) error { d, _ := e.at(""); return d.Unlink("a") },
			states: []state{{"a": contentA}, {}},
		},
		{
			name:   "rename to a name too long to seal",
			setup:  sealBase,
			run:    func(e *env) error { d, _ := e.at(""); return d.Rename("a", d, longName, 0) },
			states: []state{{"a": contentA, "dep": contentD}, {longName: contentA, "dep": contentD}},
			names:  []string{longName},
		},
	}
	for _, src := range []Form{Plain, Sealed} {
		for _, dst := range []Form{Plain, Sealed} {
			list = append(list, renameOver(src, dst), exchange(src, dst))
		}
	}
	return list
}

var longName = strings.Repeat("l", 252)

var formNames = map[Form]string{Plain: "plain", Sealed: "sealed"}

func renameOver(src, dst Form) scenario {
	return scenario{
		name:  fmt.Sprintf("rename %s over %s", formNames[src], formNames[dst]),
		setup: func(e *env) { pair(e, src, dst) },
		run: func(e *env) error {
			d, _ := e.at("x/src")
			to, _ := e.at("y/dst")
			return d.Rename("src", to, "dst", 0)
		},
		states: []state{{"x/src": contentB, "y/dst": contentA, "dep": contentD}, {"y/dst": contentB, "dep": contentD}},
	}
}

func exchange(src, dst Form) scenario {
	return scenario{
		name:  fmt.Sprintf("exchange %s and %s", formNames[src], formNames[dst]),
		setup: func(e *env) { pair(e, src, dst) },
		run: func(e *env) error {
			d, _ := e.at("x/src")
			to, _ := e.at("y/dst")
			return d.Rename("src", to, "dst", unix.RENAME_EXCHANGE)
		},
		states: []state{{"x/src": contentB, "y/dst": contentA, "dep": contentD},
			{"x/src": contentA, "y/dst": contentB, "dep": contentD}},
	}
}

// sealBase makes "a" the base of "dep".
func sealBase(e *env) {
	e.seal("a", contentA, nil)
	e.seal("dep", contentD, contentA)
}

// pair makes x/src and y/dst of two forms, and dep on whichever is sealed.
func pair(e *env, src, dst Form) {
	e.mkdir("x")
	e.mkdir("y")
	e.write("y/dst", contentA)
	e.write("x/src", contentB)
	var base []byte
	if src == Sealed {
		e.must(e.trySeal("x/src", nil))
		base = contentB
	}
	if dst == Sealed {
		e.must(e.trySeal("y/dst", nil))
		base = contentA
	}
	e.seal("dep", contentD, base)
}

func closeIf(h *Handle) {
	if h != nil {
		h.Release()
	}
}

func (e *env) link(path, other string) {
	e.t.Helper()
	d, name := e.at(path)
	to, toName := e.at(other)
	_, err := d.Link(name, to, toName)
	e.must(err)
}

// place makes an archive without a plain file before it.
func (e *env) place(path string, b, base []byte) error {
	temp, err := e.s.Temp()
	if err != nil {
		return err
	}
	defer e.s.Discard(temp)
	trailer, err := e.s.NewIdentity(nil, temp)
	e.must(err)
	w, err := archive.NewWriter(temp)
	e.must(err)
	e.must(encodeTest(b, base, 0, w, trailer))
	like, err := os.Stat(e.dir)
	e.must(err)
	d, name := e.at(path)
	return e.s.Place(d, name, temp, like)
}

// patch opens a file for writing, and writes if there is text.
func (e *env) patch(path, text string) error {
	d, name := e.at(path)
	h, err := d.Open(name, unix.O_RDWR)
	if err != nil {
		return err
	}
	defer h.Release()
	if text != "" {
		_, err = h.WriteAt([]byte(text), 200)
	}
	return err
}

func (e *env) overwrite(path string, b []byte) error {
	d, name := e.at(path)
	h, err := d.Open(name, unix.O_WRONLY|unix.O_TRUNC)
	if err != nil {
		return err
	}
	defer h.Release()
	_, err = h.WriteAt(b, 0)
	return err
}

// match tells whether the store shows just this.
func (e *env) match(want state, names []string) error {
	for _, name := range names {
		b, err := e.tryRead(name)
		w, there := want[name]
		switch {
		case !there && errors.Is(err, unix.ENOENT):
		case !there:
			return fmt.Errorf("%.20s is there (%v)", name, err)
		case err != nil:
			return fmt.Errorf("%.20s: %w", name, err)
		case !bytes.Equal(b, w):
			return fmt.Errorf("%.20s has other bytes", name)
		}
	}
	return nil
}

func (e *env) check(sc *scenario, finished bool) {
	e.t.Helper()
	states := sc.states
	if finished {
		states = states[len(states)-1:]
	}
	names := append([]string{"a", "base", "dep", "x/src", "y/dst", "sub/b"}, sc.names...)
	var all []error
	for _, want := range states {
		err := e.match(want, names)
		if err == nil {
			return
		}
		all = append(all, err)
	}
	e.t.Fatalf("no state fits:\n%v\nhost:\n%s", errors.Join(all...), e.tree(""))
}

// single asserts that no name has two forms on the host.
func (e *env) single() {
	e.t.Helper()
	for line := range strings.Lines(e.tree("")) {
		p := strings.Fields(line)[0]
		if stem, ok := strings.CutSuffix(p, suffix); ok && !strings.HasPrefix(p, "/"+private) {
			if _, err := os.Lstat(filepath.Join(e.dir, stem)); err == nil {
				e.t.Fatalf("%s is there in two forms\n%s", stem, e.tree(""))
			}
		}
	}
}

// stopAt makes the n-th host operation fail, and with kill all that follow.
func (e *env) stopAt(n int, kill bool) (count *int) {
	count = new(int)
	e.failed = ""
	e.hook = func(op, name string) error {
		*count++
		if *count == n {
			e.failed = op
		}
		if *count == n || kill && *count > n {
			return errStop
		}
		return nil
	}
	return count
}

// TestCrash stops every operation that takes several host operations at each of them, as a killed process
// does (nothing after it happens) and as a full or broken disk does (one call fails).
func TestCrash(t *testing.T) {
	var total atomic.Int64
	t.Run("at", func(t *testing.T) {
		for _, sc := range scenarios() {
			t.Run(sc.name, func(t *testing.T) {
				t.Parallel()
				points := 0
				for _, kill := range []bool{true, false} {
					for n := 1; crashAt(t, &sc, n, kill); n++ {
						points++
					}
				}
				t.Logf("%d points", points)
				total.Add(int64(points))
			})
		}
	})
	t.Logf("%d points of failure", total.Load())
}

// crashAt reports whether the operation got as far as its n-th host operation.
func crashAt(t *testing.T, sc *scenario, n int, kill bool) bool {
	e := &env{t: t, dir: t.TempDir()}
	e.open()
	defer e.close()
	sc.setup(e)
	before := e.mtimes()
	count := e.stopAt(n, kill)
	err := sc.run(e)
	e.hook = nil
	reached := *count >= n
	if !kill {
		e.check(sc, !reached)
		if e.failed != "unlink" {
			e.clean()
		}
	}
	if kill {
		e.reopen()
	}
	if !reached && err != nil {
		t.Fatal(err)
	}
	e.check(sc, !reached)
	e.reopen()
	e.check(sc, !reached)
	e.clean()
	if kill || e.failed != "unlink" { // an archive that cannot be unlinked stays behind the plain file
		e.single()
	}
	// The mtime can only be wrong if just setting it fails.
	if (strings.HasPrefix(sc.name, "thaw") || sc.name == "swap") && (kill || e.failed != "utimens") {
		if after := e.mtimes(); after != before {
			t.Fatalf("point %d: a folder's mtime changed:\n%s%s", n, before, after)
		}
	}
	return reached
}

// mtimes of the user's folders.
func (e *env) mtimes() (text string) {
	for _, sub := range []string{"", "sub"} {
		if fi, err := os.Stat(filepath.Join(e.dir, sub)); err == nil {
			text += fmt.Sprintln(sub, fi.ModTime().UnixNano())
		}
	}
	return text
}

// A swap whose plain file was written to before the replay is not finished: the plain file wins.
func TestReplaySparesChangedFile(t *testing.T) {
	for n := 1; ; n++ {
		e := &env{t: t, dir: t.TempDir()}
		e.open()
		e.write("a", contentA)
		count := e.stopAt(n, true)
		e.trySeal("a", nil)
		e.hook = nil
		done := *count < n
		e.close()
		path := filepath.Join(e.dir, "a")
		if _, err := os.Stat(path); err == nil {
			e.must(os.WriteFile(path, contentB, 0o644))
			e.open()
			e.holds("a", contentB)
			d, _ := e.at("a")
			e.must(d.Unlink("a"))
			e.absent("a")
			e.close()
		}
		if done {
			break
		}
	}
}

func TestIntentText(t *testing.T) {
	k := key{7, -3}
	p, q := spot{0, "a/\xff \"b\"", "n\n"}, spot{0, "", "m"}
	var st unix.Statx_t
	st.Ino, st.Size, st.Mtime.Sec, st.Btime.Sec, st.Btime.Nsec = 7, 5, -1, -1, 999999997
	steps := []step{linkStep(k, p, q), moveStep(k, q, p), unlinkStep(k, p), unlinkSameStep(&st, p),
		syncStep(spot{folder: p.folder}), mtimeStep(spot{folder: p.folder}, -5)}
	b := formatIntent(steps)
	got, ok, err := parseIntent(string(b))
	if err != nil || !ok || len(got) != len(steps) {
		t.Fatal(got, ok, err)
	}
	for i := range steps {
		if got[i] != steps[i] {
			t.Errorf("%+v\nread as %+v", steps[i], got[i])
		}
	}
	for n := range b {
		if _, ok, _ := parseIntent(string(b[:n])); ok {
			t.Fatalf("complete after %d of %d bytes", n, len(b))
		}
	}
}
