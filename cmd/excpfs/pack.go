package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"

	"excpfs/seal"
	"excpfs/store"
)

const packHelp = `
usage: excpfs pack [FLAGS] SRC... STORE/DEST
       excpfs pack --in-place [FLAGS] STORE[/PATH]

Compresses files, or whole checkpoint folders, into a store without a mount; SRC
stays as it is. A folder is copied with all it holds. Each checkpoint is stored
as the difference to the one before it, so name them in the order of training.
Where a file cannot be compressed it is copied, and the reason is told. Modes,
times, ACLs and user xattrs are kept, owners too for root. DEST is made where it
does not exist; of one SRC it is the new name.

The store is the outermost one above DEST. Where there is none, one begins: in
DEST if that folder exists, else in the nearest folder above that does; a line
on standard error names it.

With --in-place, the files that lie at or below PATH become compressed where
they are, each replaced only after its compressed form was decoded and compared.

The default profile is lossy for float tensors; excpfs mount --help tells how.

Example:
  excpfs pack run1/checkpoint-500 run1/checkpoint-600 /data/store/run1
  excpfs pack --in-place --profile exact /data/checkpoints
`

func runPack(ctx context.Context, args []string) error {
	var p profileFlags
	f := newFlags("pack", packHelp)
	p.register(f)
	inPlace := f.Bool("in-place", false, "compress what lies in the store already")
	base := f.String("base", "", "use this `file` of the store as base instead of choosing one")
	workers := f.Int("workers", runtime.NumCPU(), "`number` of threads")
	rest, err := parse(f, args, 1, -1)
	if err != nil {
		return err
	}
	profile, err := p.profile(f)
	switch {
	case err != nil:
		return err
	case *inPlace && len(rest) != 1:
		return usagef("--in-place takes one STORE or STORE/PATH")
	case !*inPlace && len(rest) < 2:
		return usagef("name at least one SRC and the STORE/DEST")
	case *workers < 1:
		return usagef("--workers must be at least 1")
	}
	job := packJob{sources: rest[:len(rest)-1], dest: rest[len(rest)-1], inPlace: *inPlace}
	job.options = seal.Options{Profile: profile, Workers: *workers, Base: *base}
	return job.run(ctx)
}

type packJob struct {
	sources []string
	dest    string
	inPlace bool
	options seal.Options
	plain   int // files that failed
	logical int64
	stored  int64
	files   int
}

func (j *packJob) run(ctx context.Context) error {
	files, total, err := totalSize(j.sources)
	if err != nil {
		return err
	}
	s, at, err := openForWriting(j.dest, int64(defaultCache()), slog.New(slog.NewTextHandler(os.Stderr,
		&slog.HandlerOptions{Level: slog.LevelWarn})))
	if err != nil {
		return err
	}
	defer s.Close()
	if err := j.begin(at); err != nil {
		return err
	}
	if j.options.Base, err = basePath(j.options.Base, s, at); err != nil {
		return err
	}
	p := newProgress("pack", total)
	p.of(files)
	j.options.Progress = func(e seal.Event) { j.count(p, e) }
	l := seal.New(s, j.options)
	if j.inPlace {
		err = l.InPlace(ctx, at.path)
	} else {
		err = l.Pack(ctx, j.sources, at.path)
	}
	p.end()
	if err != nil {
		return explain(err)
	}
	if j.files == 0 {
		fmt.Println("nothing was compressed")
	} else {
		fmt.Printf("%d files compressed, %s to %s, ratio %s\n", j.files, formatSize(j.logical), formatSize(j.stored),
			formatRatio(j.logical, j.stored))
	}
	if j.plain > 0 {
		return fmt.Errorf("%d files could not be compressed and are plain", j.plain)
	}
	return nil
}

// begin says which folder becomes a store, if one does.
func (j *packJob) begin(at place) error {
	if !at.fresh {
		return nil
	}
	if _, err := os.Lstat(j.dest); j.inPlace && err != nil {
		return fmt.Errorf("%s does not exist", j.dest)
	}
	for _, src := range j.sources {
		if abs, err := resolve(src); err == nil && at.path != "" && inside(abs, at.store) {
			return fmt.Errorf("%s lies in %s, which would become the store: make the store's folder first (mkdir -p)", src, at.store)
		}
	}
	fmt.Fprintf(os.Stderr, "excpfs: begins a store in %s\n", at.store)
	return nil
}

func (j *packJob) count(p *progress, e seal.Event) {
	switch {
	case e.Err != nil:
		j.plain++
		p.say("%s stays plain: %v", e.Path, e.Err)
	case e.Stored == 0:
		p.say("%s stays plain: %s", e.Path, e.Reason)
	default:
		j.files++
		j.logical += e.Logical
		j.stored += e.Stored
	}
	p.add(e.Path, e.Logical)
}

// basePath makes --base, a path as the user sees it, relative to the store.
func basePath(base string, s *store.Store, at place) (string, error) {
	if base == "" {
		return "", nil
	}
	b, err := locate(base)
	if err != nil {
		return "", err
	}
	if b.store == at.store {
		base = b.path
	}
	r, err := s.OpenArchive(base)
	if err != nil {
		return "", fmt.Errorf("--base %s is no compressed file of the store %s: %w", base, s.Path(), err)
	}
	return base, r.Close()
}

// totalSize is how many files there are at or below paths, and their size.
func totalSize(paths []string) (files int, total int64, err error) {
	for _, p := range paths {
		err := filepath.WalkDir(p, func(_ string, d os.DirEntry, err error) error {
			if err != nil {
				return err
			}
			if info, err := d.Info(); err == nil && info.Mode().IsRegular() {
				files++
				total += info.Size()
			}
			return nil
		})
		if errors.Is(err, os.ErrNotExist) {
			return 0, 0, fmt.Errorf("%s does not exist", p)
		}
		if err != nil {
			return 0, 0, err
		}
	}
	return files, total, nil
}
