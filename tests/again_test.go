package tests

import (
	"bytes"
	"path/filepath"
	"testing"
)

// TestSealedAgain copies what a lossy mount shows into another store: compressed once
// more, nothing changes any more.
func TestSealedAgain(t *testing.T) {
	for _, kind := range []string{"dev", "bf16"} {
		t.Run(kind, func(t *testing.T) {
			first, second := mount(t, "--alpha", "1e-3"), mount(t, "--alpha", "1e-3")
			lossy := 0
			for _, c := range checkpoints(t, chainOf(t, kind)) {
				first.add(t, c)
				second.add(t, first.path(filepath.Base(c)))
				files, err := filepath.Glob(filepath.Join(c, "*.safetensors"))
				if err != nil || len(files) == 0 {
					t.Fatalf("no tensor files in %s: %v", c, err)
				}
				for _, f := range files {
					name := filepath.Join(filepath.Base(c), filepath.Base(f))
					if s := second.state(name); s != "sealed" {
						t.Errorf("%s is %s", name, s)
					}
					once, twice := read(t, first.path(name)), read(t, second.path(name))
					if !bytes.Equal(once, twice) {
						t.Errorf("%s changed when it was compressed again", name)
					}
					if !bytes.Equal(once, read(t, f)) {
						lossy++
					}
				}
			}
			if lossy == 0 {
				t.Error("nothing was lossy in the first place")
			}
		})
	}
}
