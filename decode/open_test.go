package decode

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"excpfs/archive"
	"excpfs/cache"
	"excpfs/codec"
	"excpfs/tensor"
)

// refuse opens a file that must not open and checks that nothing stays open.
func (w *world) refuse(m *made) error {
	w.t.Helper()
	f, err := w.tryOpen(m, cache.New(1<<20))
	if err == nil {
		f.Close()
		w.t.Fatalf("%s was opened", m.name)
	}
	if o, c := w.opened.Load(), w.closed.Load(); o != c {
		w.t.Errorf("opened %d archives, closed %d", o, c)
	}
	return err
}

func TestOpensEachArchiveOnce(t *testing.T) {
	w := newWorld(t)
	ms := w.chain(3, tensor.F32, 40, 50)
	m := w.moments(ms, tensor.F32) // needs the weights and, twice over, what they need
	f, err := w.tryOpen(m, cache.New(1<<20))
	w.must(err)
	if n := w.opened.Load(); n != 5 {
		t.Errorf("opened %d archives, want 5", n)
	}
	w.must(f.Close())
	if n := w.closed.Load(); n != 5 {
		t.Errorf("closed %d archives, want 5", n)
	}
}

func TestMissing(t *testing.T) {
	w := newWorld(t)
	ms := w.chain(3, tensor.F32, 40, 50)
	delete(w.files, ms[1].id)
	err := w.refuse(ms[3])
	var missing *archive.MissingError
	if !errors.As(err, &missing) {
		t.Fatalf("got %v", err)
	}
	want := archive.MissingError{File: "step-2", Role: archive.RoleBase, ID: ms[1].id, Hint: "step-1"}
	if *missing != want {
		t.Errorf("got %+v, want %+v", *missing, want)
	}
}

func TestWithoutResolver(t *testing.T) {
	w := newWorld(t)
	ms := w.chain(1, tensor.F32, 40, 50)
	for i, m := range ms {
		r, err := w.reader(m)
		w.must(err)
		f, err := Open(r, nil, cache.New(1<<20))
		var missing *archive.MissingError
		if (err == nil) != (i == 0) || i > 0 && !errors.As(err, &missing) {
			t.Errorf("%s: %v", m.name, err)
		}
		if err == nil {
			f.Close()
		}
	}
}

func TestResolverGivesAnother(t *testing.T) {
	w := newWorld(t)
	ms := w.chain(2, tensor.F32, 40, 50)
	w.files[ms[0].id] = w.file("other", nil, w.exact("w", tensor.F32, 40, 50))
	var damage *archive.DamageError
	if err := w.refuse(ms[2]); !errors.As(err, &damage) || damage.File != "step-1" {
		t.Errorf("got %v", err)
	}
}

func TestCycle(t *testing.T) {
	w := newWorld(t)
	a := w.file("a", nil, w.exact("w", tensor.F32, 10))
	b := w.file("b", []archive.Dep{dep(archive.RoleBase, a)}, w.residual(a, 0, "w", 0.5))
	// Another archive of content a, which needs b.
	p := on(b, 0, "w", codec.Delta)
	p.base = bytes.Clone(p.plain)
	copy(p.plain, a.plain[len("the gap before tensor 0"):])
	again := w.file("a", []archive.Dep{dep(archive.RoleBase, b)}, p)
	if again.id != a.id {
		t.Fatal("the contents differ")
	}
	if err := w.refuse(again); !strings.Contains(err.Error(), "base cycle") {
		t.Errorf("got %v", err)
	}
	if err := w.refuse(b); !strings.Contains(err.Error(), "base cycle") {
		t.Errorf("got %v", err)
	}
}

func TestDepth(t *testing.T) {
	w := newWorld(t)
	m := w.file("0", nil, w.exact("w", tensor.F32, 3))
	for i := 1; i <= maxDepth; i++ {
		m = w.file(fmt.Sprint(i), []archive.Dep{dep(archive.RoleBase, m)}, w.delta(m, 0, "w"))
		if i == maxDepth {
			break
		}
	}
	w.check(m, 1<<20)
	// One more, whose summary claims less.
	p := w.delta(m, 0, "w")
	base := m.index.Depth
	m.index.Depth = 3
	over := w.file("over", []archive.Dep{dep(archive.RoleBase, m)}, p)
	m.index.Depth = base
	if _, err := w.tryOpen(over, cache.New(1<<20)); err == nil || !strings.Contains(err.Error(), "255") {
		t.Errorf("got %v", err)
	}
}

// References that do not fit concern the tensor that has them.
func TestMismatches(t *testing.T) {
	w := newWorld(t)
	b := w.file("base", nil, w.exact("w", tensor.F32, 40, 50), w.exact("ok", tensor.F32, 40, 50))
	other := w.file("other", nil, w.exact("w", tensor.F32, 50, 40), w.exact("v", tensor.F32, 40, 50))
	half := w.file("half", nil, w.exact("w", tensor.BF16, 40, 50))
	moment := func(mask string, weights int) *part {
		p := w.moment("m", tensor.F32, make([]bool, 2000), 0.5, 40, 50)
		p.coded = make([]bool, 2000)
		p.coded[7], p.domain[7] = true, true
		p.Mask, p.Weights = mask, weights
		return p
	}
	shared := func(i int) *part {
		p := w.second("m2", i, w.moment("m", tensor.F32, nil, 0.5, 40, 50))
		return p
	}
	residual := func(f func(p *part)) *part {
		p := w.residual(b, 0, "w", 0.5)
		f(p)
		return p
	}
	for _, c := range []struct {
		what string
		deps []*made
		bad  *part
	}{
		{"no base", []*made{b}, residual(func(p *part) { p.Base = -1 })},
		{"base of another shape", []*made{other}, residual(func(p *part) {})},
		{"base of another dtype", []*made{half}, residual(func(p *part) {})},
		{"base without the tensor", []*made{b}, residual(func(p *part) { p.Name = "nowhere" })},
		{"weight of another shape", []*made{other}, moment("w", 0)},
		{"no such weight", []*made{b}, moment("nowhere", 0)},
		{"weight without base", []*made{b}, moment("w", 0)},
		{"weight is the moment", []*made{b}, moment("m", -1)},
		{"shared with an exact tensor", nil, shared(0)},
	} {
		var deps []archive.Dep
		for i, d := range c.deps {
			deps = append(deps, dep(archive.RoleBase+archive.Role(i), d))
		}
		m := w.file(c.what, deps, w.exact("good", tensor.F32, 40, 50), c.bad)
		f := w.open(m, cache.New(1<<20))
		good := make([]byte, 8000)
		w.must(f.ReadTensor(bg, 0, good, 0))
		if _, want := m.tensor("good"); !bytes.Equal(good, want) {
			t.Errorf("%s: the other tensor differs", c.what)
		}
		var damage *archive.DamageError
		err := f.ReadTensor(bg, 1, make([]byte, 1), 0)
		if !errors.As(err, &damage) || damage.Tensor != c.bad.Name || damage.File != c.what {
			t.Errorf("%s: got %v", c.what, err)
		}
	}
}
