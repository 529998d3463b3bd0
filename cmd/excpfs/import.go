package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"

	"excpfs/cache"
	"excpfs/store"
)

const importHelp = `
usage: excpfs import --excp [FLAGS] DIR... STORE/DEST
       excpfs import --zipnn [FLAGS] FILE|DIR... STORE/DEST

Takes what other programs have compressed into a store. Nothing more is lost: each
file is packed without loss, read back from the store and compared byte by byte.
Sources stay as they are. Of one DIR the files go to DEST; of several, each to a folder
of its name there.

With --excp, a series as the script of ExCP's authors (github.com/Gaffey/ExCP) leaves
it. Each DIR holds numbered folders, or is one: the first with a full model.safetensors
and optimizer.pt, the others with compressed.pt. They are taken in the order of their
numbers, a later DIR continues the series of the one before, and the store gets what the
script's --only_recon makes of them, bit for bit. The rest of each folder is copied.
The format has no checksum and does not say what it is the difference to: with a wrong
base, or in a wrong order, the result is wrong and nothing can tell. A parameter that a
compressed.pt lacks is left out of the model, as the script does; that, and every tensor
without a codebook, is told in a line.

With --zipnn, .znn.safetensors and .znn files as ZipNN 0.4 and 0.5 write them, under the names
and with the content that its own decompression gives. Other files of a DIR are copied.

What is in DEST already is compared and passed over, so that an import that was
interrupted can be repeated. It needs room for two decompressed checkpoints beside
the store, or, where that is another filesystem, in TMPDIR.

Example:
  excpfs import --excp pythia/models pythia/models2 /data/store/pythia
  excpfs import --zipnn model.znn.safetensors /data/store/llama
`

func runImport(ctx context.Context, args []string) error {
	f := newFlags("import", importHelp)
	fromExcp := f.Bool("excp", false, "import a series of compressed.pt")
	fromZipnn := f.Bool("zipnn", false, "import files of ZipNN")
	names := f.String("names", "", "excp: `file` with the parameters' names by line, in the order of the script's optimizer_name; "+
		"not needed for a GPT-NeoX, nor where optimizer.pt has them")
	workers := f.Int("workers", runtime.NumCPU(), "`number` of threads")
	rest, err := parse(f, args, 2, -1)
	switch {
	case err != nil:
		return err
	case *fromExcp == *fromZipnn:
		return usagef("name one of --excp and --zipnn")
	case *names != "" && !*fromExcp:
		return usagef("--names belongs to --excp")
	case *workers < 1:
		return usagef("--workers must be at least 1")
	}
	j := importJob{sources: rest[:len(rest)-1], dest: rest[len(rest)-1], workers: *workers}
	if *names != "" {
		if j.order, err = readLines(*names); err != nil {
			return err
		}
	}
	if *fromExcp {
		return j.run(ctx, j.excp)
	}
	return j.run(ctx, j.zipnn)
}

// importJob is one run of the verb.
type importJob struct {
	sources         []string
	dest            string
	workers         int
	order           []string // of --names
	s               *store.Store
	at              place
	temp            string // folder for plain files
	cache           *cache.Cache
	progress        *progress
	files, passed   int // imported; there already
	logical, stored int64
}

// run opens the store and makes the folder for plain files around what fn does.
func (j *importJob) run(ctx context.Context, fn func(context.Context) error) error {
	for _, src := range j.sources {
		if _, err := os.Stat(src); err != nil {
			return err
		}
	}
	s, at, err := openForWriting(j.dest, int64(defaultCache()), discardLog())
	if err != nil {
		return err
	}
	defer s.Close()
	j.s, j.at, j.cache = s, at, cache.New(verifyCache)
	if err := j.apart(); err != nil {
		return err
	}
	if at.fresh {
		fmt.Fprintf(os.Stderr, "excpfs: begins a store in %s\n", at.store)
	}
	if j.temp, err = tempBeside(at.store); err != nil {
		return err
	}
	defer os.RemoveAll(j.temp)
	j.progress = newProgress("import", 0)
	err = fn(ctx)
	j.progress.end()
	if err != nil {
		return explain(err)
	}
	fmt.Printf("%d files imported and compared, %s to %s, ratio %s\n", j.files, formatSize(j.logical), formatSize(j.stored),
		formatRatio(j.logical, j.stored))
	if j.passed > 0 {
		fmt.Printf("%d files were in the store already, the same\n", j.passed)
	}
	return nil
}

// apart refuses sources that are in the store, or around it.
func (j *importJob) apart() error {
	for _, src := range j.sources {
		abs, err := resolve(src)
		if err == nil && (inside(abs, j.at.store) || inside(j.at.store, abs)) {
			return fmt.Errorf("%s and the store %s lie one in the other: import from a folder apart", src, j.at.store)
		}
	}
	return nil
}

// tempBeside makes a folder beside the store, on its filesystem, if it can. We are the
// store's only writer: one that is there already was left by an import that was killed.
func tempBeside(root string) (string, error) {
	dir := filepath.Join(filepath.Dir(root), ".excpfs-import-"+filepath.Base(root))
	if !leftBehind(dir) {
		return "", fmt.Errorf("%s exists, and no import made it: move it away", dir)
	}
	err := errors.Join(os.RemoveAll(dir), os.Mkdir(dir, 0o700))
	if err == nil && sameDevice(dir, root) {
		return dir, os.WriteFile(filepath.Join(dir, importMark), nil, 0o600)
	}
	if err == nil {
		os.Remove(dir)
	}
	return os.MkdirTemp("", ".excpfs-import-")
}

// importMark is a file in the folder of an import, by which the next one knows it.
const importMark = "excpfs-import"

// leftBehind: there is nothing, an empty folder, or one with the mark.
func leftBehind(dir string) bool {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return errors.Is(err, os.ErrNotExist)
	}
	return len(entries) == 0 || slices.ContainsFunc(entries, func(e os.DirEntry) bool { return e.Name() == importMark })
}

// kept opens a file of the store by its path there.
func (j *importJob) kept(ctx context.Context, at string) (io.ReaderAt, int64, func(), error) {
	t, err := find(j.s, at)
	if err != nil {
		return nil, 0, nil, err
	}
	defer t.dir.Release()
	if !t.isRegular() {
		return nil, 0, nil, fmt.Errorf("%s is no file", at)
	}
	u := unpacker{ctx: ctx, s: j.s, cache: j.cache}
	return u.open(t)
}

// isThere reports whether the store has something at a path.
func (j *importJob) isThere(at string) (bool, error) {
	t, err := find(j.s, at)
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	if err == nil {
		t.dir.Release()
	}
	return err == nil, err
}
