// Command hashes prints the SHA-256 of what each archive below a folder decodes
// to. It is built for platforms that the mount is not built for, to show that
// decoding gives the same bits on all.
package main

import (
	"crypto/sha256"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"excpfs/archive"
	"excpfs/cache"
	"excpfs/decode"
)

const suffix = ".excp"

// folder finds archives by content.
type folder map[archive.ID]string

func (f folder) Archive(id archive.ID, hint string) (*archive.Reader, error) {
	path, ok := f[id]
	if !ok {
		return nil, &archive.MissingError{ID: id, Hint: hint}
	}
	return open(path)
}

func open(path string) (*archive.Reader, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	return archive.Open(f, st.Size(), path)
}

func main() {
	if err := run(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "hashes:", err)
		os.Exit(1)
	}
}

func run(dir string) error {
	var paths []string
	known := folder{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, suffix) {
			return err
		}
		r, err := open(path)
		if err != nil {
			return err
		}
		known[r.Index().ID] = path
		paths = append(paths, path)
		return r.Close()
	})
	for _, path := range paths {
		if err == nil {
			err = known.print(dir, path)
		}
	}
	return err
}

func (f folder) print(dir, path string) error {
	r, err := open(path)
	if err != nil {
		return err
	}
	d, err := decode.Open(r, f, cache.New(64<<20))
	if err != nil {
		return err
	}
	defer d.Close()
	h := sha256.New()
	if _, err := io.Copy(h, io.NewSectionReader(d, 0, d.Size())); err != nil {
		return err
	}
	rel, err := filepath.Rel(dir, path)
	fmt.Printf("%x  %s\n", h.Sum(nil), strings.TrimSuffix(rel, suffix))
	return err
}
