package main

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"excpfs/archive"
	"excpfs/cache"
	"excpfs/decode"
	"excpfs/store"
)

const verifyHelp = `
usage: excpfs verify [--json] STORE[/PATH]

Decodes every compressed file at or below PATH and compares all checksums, the
hash of each tensor and of each whole file. Each fault is printed; the tensors
that it does not touch stay readable. Nothing is changed.

Example:
  excpfs verify /data/store
`

// verifyCache holds what dependents of one base share.
const verifyCache = 256 << 20

type verdict struct {
	Path   string   `json:"path"`
	Size   int64    `json:"logical"`
	Faults []string `json:"faults"`
}

func runVerify(ctx context.Context, args []string) error {
	f := newFlags("verify", verifyHelp)
	asJSON := f.Bool("json", false, "print a JSON array of all files")
	s, p, err := openNamed(f, args)
	if err != nil {
		return err
	}
	defer s.Close()
	v := verifier{s: s, cache: cache.New(verifyCache), verdicts: []verdict{}}
	if err := v.run(ctx, p.path); err != nil {
		return explain(err)
	}
	if *asJSON {
		if err := printJSON(v.verdicts); err != nil {
			return err
		}
	}
	if v.damaged > 0 {
		return fmt.Errorf("%w in %d of %d compressed files. Restore those, with the files they need, from a backup; all others are sound",
			errDamaged, v.damaged, len(v.verdicts))
	}
	if !*asJSON {
		fmt.Printf("%d compressed files, %s: all sound\n", len(v.verdicts), formatSize(v.bytes))
	}
	return nil
}

type verifier struct {
	s        *store.Store
	cache    *cache.Cache
	progress *progress
	verdicts []verdict
	damaged  int
	bytes    int64
}

func (v *verifier) run(ctx context.Context, at string) error {
	files, total, err := count(v.s, at, func(t item) bool { return t.entry.Form == store.Sealed })
	if err != nil {
		return err
	}
	v.progress = newProgress("verify", total)
	defer v.progress.end()
	v.progress.of(files)
	err = walk(v.s, at, func(t item) error {
		if t.entry.Form != store.Sealed {
			return nil
		}
		return v.file(ctx, t.path, t.logical(), func() (*archive.Reader, error) { return v.s.OpenArchive(t.path) })
	})
	if err != nil || at != "" {
		return err
	}
	return v.retained(ctx)
}

// retained checks the archives that have no name any more but are needed by others.
func (v *verifier) retained(ctx context.Context) error {
	list, err := filepath.Glob(filepath.Join(v.s.Path(), ".excpfs/retained/*"+archiveSuffix))
	if err != nil {
		return err
	}
	for _, path := range list {
		var id archive.ID
		raw, err := hex.DecodeString(strings.TrimSuffix(filepath.Base(path), archiveSuffix))
		if err != nil || copy(id[:], raw) != len(id) {
			continue // not one of ours
		}
		open := func() (*archive.Reader, error) { return v.s.Archive(id, "") }
		if err := v.file(ctx, "retained content "+hex.EncodeToString(raw), 0, open); err != nil {
			return err
		}
	}
	return nil
}

// file checks one file. Only an interruption is an error; faults are counted.
func (v *verifier) file(ctx context.Context, name string, size int64, open func() (*archive.Reader, error)) error {
	d := verdict{Path: name, Size: size, Faults: []string{}}
	fault := func(err error) { // one of the weights shows in both moments
		text := err.Error()
		for prefix := name + ": "; strings.HasPrefix(text, prefix); {
			text = text[len(prefix):]
		}
		if !slices.Contains(d.Faults, text) {
			d.Faults = append(d.Faults, text)
			v.progress.say("%s: %s", name, text)
		}
	}
	r, err := open()
	if err == nil {
		var f *decode.File
		if f, err = decode.Open(r, v.s, v.cache); err == nil {
			err = f.Verify(ctx, fault)
			f.Close()
		}
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if errors.Is(err, os.ErrNotExist) {
		return nil // gone meanwhile
	}
	if err != nil && len(d.Faults) == 0 {
		fault(err)
	}
	if err != nil {
		v.damaged++
	}
	v.bytes += d.Size
	v.verdicts = append(v.verdicts, d)
	v.progress.add(name, d.Size)
	return nil
}
