package store

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

// interrupt leaves run/a and its archive as a swap does that stops before its last unlink, with no intent of it.
func interrupt(e *env) (folder time.Time) {
	e.t.Helper()
	e.mkdir("run")
	e.seal("base", contentB, nil)
	e.write("run/a", contentA)
	folder = time.Unix(1e9, 0)
	e.must(os.Chtimes(filepath.Join(e.dir, "run"), folder, folder))
	stopped := false
	e.hook = func(op, name string) error {
		if stopped = stopped || op == "unlink" && name == "a"; stopped {
			return errStop
		}
		return nil
	}
	e.trySeal("run/a", contentB)
	e.close()
	e.hook = nil
	for _, name := range e.list(private + "/intents") {
		e.must(os.Remove(filepath.Join(e.dir, private, "intents", name)))
	}
	if got := e.list("run"); !slices.Equal(got, []string{"a", "a.excp"}) {
		e.t.Fatalf("%q", got)
	}
	return folder
}

// An archive behind the very file it was made of is what the swap wanted.
func TestLostIntent(t *testing.T) {
	e := newEnv(t)
	want := interrupt(e)
	e.hideMtime()
	e.open()
	if got := e.list("run"); !slices.Equal(got, []string{"a.excp"}) {
		t.Fatalf("%q", got)
	}
	e.form("run/a", Sealed)
	e.holds("run/a", contentA)
	e.queueIs("")
	e.clean()
	fi, err := os.Stat(filepath.Join(e.dir, "run"))
	e.must(err)
	if !fi.ModTime().Equal(want) {
		t.Errorf("the folder's mtime is %v, want %v", fi.ModTime(), want)
	}
	if c := e.s.cat.content(idOf(contentA)); len(c) != 1 || c[0].hidden {
		t.Errorf("%+v", c)
	}
}

// hideMtime gives the folder the mtime that the rename of the archive left.
func (e *env) hideMtime() {
	e.t.Helper()
	host := filepath.Join(e.dir, "run/a.excp")
	e.must(os.Rename(host, host+"x")) // stamps archive and folder alike
	e.must(os.Rename(host+"x", host))
}

func TestLostIntentOfOther(t *testing.T) {
	for name, change := range map[string]func(e *env, plain, arch string){
		"written to": func(e *env, plain, _ string) { e.must(os.WriteFile(plain, contentD, 0o644)) },
		"touched":    func(e *env, plain, _ string) { e.must(os.Chmod(plain, 0o600)) },
		"linked":     func(e *env, plain, _ string) { e.must(os.Link(plain, filepath.Join(e.dir, "other"))) },
		"incomplete": func(e *env, _, arch string) { e.must(os.Truncate(arch, 100)) },
		"base gone":  func(e *env, _, _ string) { e.must(os.Remove(filepath.Join(e.dir, "base.excp"))) },
		"open": func(e *env, plain, _ string) {
			f, err := os.OpenFile(plain, os.O_WRONLY, 0)
			e.must(err)
			e.t.Cleanup(func() { f.Close() })
		},
	} {
		t.Run(name, func(t *testing.T) {
			e := newEnv(t)
			interrupt(e)
			plain := filepath.Join(e.dir, "run/a")
			change(e, plain, plain+".excp")
			want, err := os.ReadFile(plain)
			e.must(err)
			e.open()
			e.form("run/a", Plain)
			e.holds("run/a", want)
			d, _ := e.at("run/a")
			list, err := d.ReadDir()
			e.must(err)
			if len(list) != 1 || list[0].Name != "a" {
				t.Errorf("%+v", list)
			}
			if got := e.list("run"); !slices.Equal(got, []string{"a", "a.excp"}) {
				t.Errorf("%q", got)
			}
		})
	}
}

// What somebody did in the folder since stays its mtime.
func TestLostIntentFolderChanged(t *testing.T) {
	e := newEnv(t)
	interrupt(e)
	e.hideMtime()
	time.Sleep(50 * time.Millisecond)
	e.foreign("run/new")
	before, err := os.Stat(filepath.Join(e.dir, "run"))
	e.must(err)
	e.open()
	e.form("run/a", Sealed)
	after, err := os.Stat(filepath.Join(e.dir, "run"))
	e.must(err)
	if !after.ModTime().Equal(before.ModTime()) {
		t.Errorf("mtime %v, want %v", after.ModTime(), before.ModTime())
	}
}
