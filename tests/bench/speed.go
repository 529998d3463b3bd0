package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// speed prints encoding and decoding rates on a large checkpoint pair.
func (b *bench) speed() error {
	list, err := b.checkpoints()
	if err != nil {
		return err
	}
	var tiled []string
	for i, folder := range list[:2] {
		dest := filepath.Join(b.dir, "large", filepath.Base(folder))
		if err := os.MkdirAll(dest, 0o755); err != nil {
			return err
		}
		for _, name := range files {
			if err := tile(filepath.Join(folder, name), filepath.Join(dest, name), int64(b.mb)<<19, i); err != nil {
				return err
			}
		}
		tiled = append(tiled, dest)
	}
	t := newTable(fmt.Sprintf("Encoding and decoding, MB/s (weights and moments, %d MiB each, made of %s, matrices enlarged)", b.mb/2, list[1]),
		"how", "encode", "decode", "ratio")
	for _, p := range profiles {
		row, err := b.ourSpeed(p.name, p.flags, tiled)
		if err != nil {
			return err
		}
		t.add(row...)
	}
	for _, c := range compressors[:2] {
		t.add(b.theirSpeed(c, filepath.Join(list[1], files[1]))...)
	}
	t.print()
	fmt.Println("\nThe compressors are measured on the moments of one real checkpoint: a window that spans a repetition would flatter them.")
	return os.RemoveAll(filepath.Join(b.dir, "large"))
}

func (b *bench) ourSpeed(name string, flags, tiled []string) ([]string, error) {
	store := "speed " + name
	if err := b.pack(store, flags, tiled[:1]); err != nil {
		return nil, err
	}
	begin := time.Now()
	if err := b.pack(store, flags, tiled[1:]); err != nil {
		return nil, err
	}
	encode := time.Since(begin)
	folder := filepath.Join(b.dir, store, filepath.Base(tiled[1]))
	var original, stored int64
	for _, f := range files {
		o, err := size(filepath.Join(tiled[1], f))
		if err != nil {
			return nil, err
		}
		s, err := size(filepath.Join(folder, f+".excp"))
		if err != nil {
			return nil, err
		}
		original, stored = original+o, stored+s
	}
	out := filepath.Join(b.dir, "unpacked")
	begin = time.Now()
	if msg, err := exec.Command(b.excpfs, "unpack", folder, out).CombinedOutput(); err != nil {
		return nil, fmt.Errorf("unpack: %w\n%s", err, msg)
	}
	decode := time.Since(begin)
	os.RemoveAll(out)
	return []string{"excpfs " + name, rate(original, encode), rate(original, decode), times(original, stored)},
		os.RemoveAll(filepath.Join(b.dir, store))
}

func (b *bench) theirSpeed(c compressor, in string) []string {
	original, _ := size(in)
	out, back := filepath.Join(b.dir, "out.zst"), filepath.Join(b.dir, "back")
	defer os.Remove(out)
	defer os.Remove(back)
	begin := time.Now()
	if err := c.run(in, out).Run(); err != nil {
		return []string{c.name, "-", "-", "-"}
	}
	encode := time.Since(begin)
	begin = time.Now()
	exec.Command("zstd", "-q", "-d", out, "-o", back).Run()
	n, _ := size(out)
	return []string{c.name, rate(original, encode), rate(original, time.Since(begin)), times(original, n)}
}

func rate(bytes int64, d time.Duration) string {
	return fmt.Sprintf("%.0f", float64(bytes)/1e6/d.Seconds())
}
