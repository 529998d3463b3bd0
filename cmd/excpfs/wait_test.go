package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestReport(t *testing.T) {
	dir := t.TempDir()
	w := watcher{failed: map[string]string{dir + "/bad": "the archive does not decode to the file"}, plain: map[string]string{}}
	for name, size := range map[string]int64{"a": small, "b": small, "c": small, "d": small, "e": small, "tiny": small - 1} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, nil, 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(path, size); err != nil {
			t.Fatal(err)
		}
		w.plain[path] = "not a tensor file: its header has " + name + " bytes"
	}
	w.plain[dir+"/e"] = "saves less than 2 %"
	w.plain[dir+"/tiny"] = "under 64 KiB"
	var out strings.Builder
	if failures := w.report(&out); failures != 1 {
		t.Errorf("%d failures", failures)
	}
	want := `/bad stays plain: the archive does not decode to the file
4 files stay plain, not a tensor file: /a, /b, /c, ...
1 file stays plain, saves less than 2 %: /e
1 file stays plain, under 64 KiB
`
	if got := strings.ReplaceAll(out.String(), dir, ""); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}
