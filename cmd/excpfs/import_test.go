package main

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

// lay makes empty files.
func lay(t *testing.T, dir string, names ...string) {
	t.Helper()
	for _, name := range names {
		p := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func TestStations(t *testing.T) {
	dir := t.TempDir()
	lay(t, dir, "models/checkpoint-1000/model.safetensors", "models/checkpoint-1000/optimizer.pt", "models/checkpoint-1000/compressed.pt",
		"models/checkpoint-10000/compressed.pt", "models/checkpoint-2000/compressed.pt", "models/checkpoint-2000/model.safetensors",
		"models/runs/events", "models2/checkpoint-1000/compressed.pt", "models2/checkpoint-1500/model.safetensors",
		"models2/checkpoint-2000/model.safetensors", "models2/checkpoint-2000/optimizer.pt")
	path := func(p string) string { return filepath.Join(dir, p) }
	got, err := stations([]string{path("models"), path("models2")}, "run")
	want := []station{
		{path("models/checkpoint-1000"), "run/models/checkpoint-1000", true},
		{path("models/checkpoint-2000"), "run/models/checkpoint-2000", false},
		{path("models/checkpoint-10000"), "run/models/checkpoint-10000", false},
		{path("models2/checkpoint-1000"), "run/models2/checkpoint-1000", false},
		{path("models2/checkpoint-2000"), "run/models2/checkpoint-2000", true}, // a series may begin anew
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%v\n%v", got, err)
	}
	got, err = stations([]string{path("models")}, "run")
	if err != nil || len(got) != 3 || got[2].dest != "run/checkpoint-10000" {
		t.Errorf("one folder: %v, %v", got, err)
	}
	got, err = stations([]string{path("models/checkpoint-1000"), path("models/checkpoint-10000")}, "")
	if err != nil || len(got) != 2 || got[1] != (station{path("models/checkpoint-10000"), "checkpoint-10000", false}) {
		t.Errorf("an order of its own: %v, %v", got, err)
	}
	for want, sources := range map[string][]string{
		"must be full":    {path("models2/checkpoint-1000")},
		"have one place":  {path("models/checkpoint-1000"), path("models2/checkpoint-1000")},
		"has no folder":   {path("models/runs")},
		"no such file":    {path("none")},
		"begins the seri": {path("models/checkpoint-2000"), path("models/checkpoint-1000")},
	} {
		if got, err := stations(sources, "run"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %v, %v", sources, got, err)
		}
	}
}

func TestPlainName(t *testing.T) {
	for name, want := range map[string]string{
		"model.znn.safetensors": "model.safetensors", "model.safetensors.znn": "model.safetensors", "model.safetensors": "model.safetensors",
		"x.bin.znn": "x.bin", "znn": "znn",
	} {
		if got := plainName(name); got != want {
			t.Errorf("%s: %s, not %s", name, got, want)
		}
	}
}

func TestReadLines(t *testing.T) {
	p := filepath.Join(t.TempDir(), "names")
	if err := os.WriteFile(p, []byte("a.weight\n\n b.bias \r\nc"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := readLines(p); err != nil || !reflect.DeepEqual(got, []string{"a.weight", "b.bias", "c"}) {
		t.Errorf("%q, %v", got, err)
	}
}
