package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

var files = []string{"model.safetensors", "optimizer.safetensors"}

type compressor struct {
	name string
	run  func(in, out string) *exec.Cmd
}

var compressors = []compressor{
	{"zstd -3", func(in, out string) *exec.Cmd { return exec.Command("zstd", "-q", "-3", in, "-o", out) }},
	{"zstd -19", func(in, out string) *exec.Cmd { return exec.Command("zstd", "-q", "-19", in, "-o", out) }},
	{"xz -9", func(in, out string) *exec.Cmd {
		return exec.Command("sh", "-c", `xz -9 -T1 -c "$0" > "$1"`, in, out)
	}},
	{"7z -mx=9", func(in, out string) *exec.Cmd { return exec.Command("7z", "a", "-bd", "-mx=9", out, in) }},
}

var profiles = []struct {
	name  string
	flags []string
}{
	{"exact", []string{"--profile", "exact"}},
	{"excp", nil},
	{"excp, alpha 1e-3", []string{"--alpha", "1e-3"}},
}

// sizes prints what each file of the chain takes.
func (b *bench) sizes() error {
	list, err := b.checkpoints()
	if err != nil {
		return err
	}
	head := []string{"file", "bytes"}
	for _, c := range compressors {
		head = append(head, c.name)
	}
	for _, p := range profiles {
		head = append(head, p.name)
		if err := b.pack(p.name, p.flags, list); err != nil {
			return err
		}
	}
	t := newTable("Size, times smaller than the original ("+b.chain+", in the order of the steps)", head...)
	for _, folder := range list {
		for _, name := range files {
			row, err := b.sizesOf(folder, name)
			if err != nil {
				return err
			}
			t.add(row...)
		}
	}
	t.print()
	return nil
}

func (b *bench) sizesOf(folder, name string) ([]string, error) {
	in := filepath.Join(folder, name)
	original, err := size(in)
	if err != nil {
		return nil, err
	}
	row := []string{filepath.Base(folder) + "/" + name, fmt.Sprint(original)}
	for _, c := range compressors {
		out := filepath.Join(b.dir, "out.7z")
		os.Remove(out)
		if msg, err := c.run(in, out).CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "bench: %s: %v %s\n", c.name, err, msg)
			row = append(row, "-")
			continue
		}
		n, _ := size(out)
		row = append(row, times(original, n))
	}
	for _, p := range profiles {
		n, err := size(filepath.Join(b.dir, p.name, filepath.Base(folder), name+".excp"))
		if err != nil {
			return nil, err
		}
		row = append(row, times(original, n))
	}
	return row, nil
}

// pack makes a store named after a profile of checkpoint folders.
func (b *bench) pack(store string, flags, folders []string) error {
	dest := filepath.Join(b.dir, store)
	if err := os.MkdirAll(dest, 0o755); err != nil {
		return err
	}
	for _, f := range folders { // one call each, so that each is the base of the next
		args := append(append([]string{"pack"}, flags...), f, dest)
		if out, err := exec.Command(b.excpfs, args...).CombinedOutput(); err != nil {
			return fmt.Errorf("excpfs %q: %w\n%s", args, err, out)
		}
	}
	return nil
}

func size(path string) (int64, error) {
	st, err := os.Stat(path)
	if err != nil {
		return 0, err
	}
	return st.Size(), nil
}
