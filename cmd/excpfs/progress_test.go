package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestProgressText(t *testing.T) {
	out, err := os.Create(filepath.Join(t.TempDir(), "out"))
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	p := newProgressOn(out, "unpack", 4<<20)
	defer p.end()
	p.of(3)
	var copied bytes.Buffer
	p.through(&copied).Write(make([]byte, 1<<20))
	if part, known := p.part(); !known || part != 0.25 || copied.Len() != 1<<20 {
		t.Errorf("in the middle of a file: %v, %v", part, known)
	}
	p.add("model", 0)
	p.started = time.Now().Add(-65 * time.Second)
	if got := p.text(); got != "unpack: 1 of 3 files, 1.0 MiB of 4.0 MiB, 0 MB/s, 1:05" {
		t.Error(got)
	}
	p.show()
	p.say("%s is odd", "model")
	p.end()
	b, err := os.ReadFile(out.Name())
	if want := "unpack: 1 of 3 files, 1.0 MiB of 4.0 MiB, 0 MB/s, 1:05, model\nmodel is odd\n"; err != nil || string(b) != want {
		t.Errorf("%q, %v", b, err)
	}
}

func TestProgressOfFiles(t *testing.T) {
	p := newProgressOn(os.Stderr, "wait", 0)
	defer p.end()
	if _, known := p.part(); known {
		t.Error("a part of what is not known")
	}
	p.reached(1, 4)
	if part, known := p.part(); !known || part != 0.25 || !strings.HasPrefix(p.text(), "wait: 1 of 4 files, 0:0") {
		t.Errorf("%v, %v, %q", part, known, p.text())
	}
}
