package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/bits"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"excpfs/archive"
	"excpfs/excp"
	"excpfs/safetensors"
	"excpfs/seal"
)

// The files of a checkpoint in a series of the script.
const (
	modelFile = "model.safetensors"
	stateFile = "optimizer.pt"
	deltaFile = "compressed.pt"
)

// excp imports a series.
func (j *importJob) excp(ctx context.Context) error {
	list, err := stations(j.sources, j.at.path)
	if err != nil {
		return err
	}
	s := series{j: j}
	defer s.last.close()
	for _, st := range list {
		next := s.delta
		if st.full {
			next = s.full
		}
		if err := next(ctx, st); err != nil {
			return fmt.Errorf("%s: %w", st.dir, err)
		}
	}
	return nil
}

// series is what goes from one checkpoint to the next.
type series struct {
	j    *importJob
	s    *excp.Series
	last plain
	dest string // of last
	turn int
}

// plain is an open checkpoint, decompressed.
type plain struct{ model, optimizer *os.File }

func (p plain) close() {
	for _, f := range []*os.File{p.model, p.optimizer} {
		if f != nil {
			f.Close()
		}
	}
}

func (p plain) checkpoint() (excp.Checkpoint, error) {
	m, err := sized(p.model)
	o, err2 := sized(p.optimizer)
	return excp.Checkpoint{Model: m, Optimizer: o}, errors.Join(err, err2)
}

func sized(f *os.File) (excp.File, error) {
	st, err := f.Stat()
	if err != nil {
		return excp.File{}, err
	}
	return excp.File{ReaderAt: f, Size: st.Size()}, nil
}

func openPlain(dir string, flags int) (p plain, err error) {
	if p.model, err = os.OpenFile(filepath.Join(dir, modelFile), flags, 0o600); err == nil {
		p.optimizer, err = os.OpenFile(filepath.Join(dir, stateFile), flags, 0o600)
	}
	if err != nil {
		p.close()
	}
	return p, err
}

// become makes a checkpoint the base of the next.
func (s *series) become(p plain, dest string) {
	s.last.close()
	s.last, s.dest = p, dest
}

// full begins a series. Its moments are not to lose anything either.
func (s *series) full(ctx context.Context, st station) error {
	p, err := openPlain(st.dir, os.O_RDONLY)
	if err != nil {
		return err
	}
	c, err := p.checkpoint()
	if err == nil {
		s.s, err = excp.Begin(c, s.j.order)
	}
	if err == nil {
		err = s.keep(ctx, st, st.dir, seal.Options{Profile: archive.Profile{Name: "exact"}})
	}
	if err != nil {
		p.close()
		return err
	}
	s.become(p, st.dest)
	return nil
}

// delta reconstructs a checkpoint into the temporary folder that the last but one had.
func (s *series) delta(ctx context.Context, st station) error {
	dir := filepath.Join(s.j.temp, strconv.Itoa(s.turn%2))
	s.turn++
	if err := errors.Join(os.RemoveAll(dir), os.Mkdir(dir, 0o700)); err != nil {
		return err
	}
	p, err := openPlain(dir, os.O_RDWR|os.O_CREATE|os.O_EXCL)
	if err != nil {
		return err
	}
	o, err := s.reconstruct(ctx, st, p)
	if err == nil {
		err = s.keep(ctx, st, dir, o)
	}
	if err != nil {
		p.close()
		return err
	}
	s.become(p, st.dest)
	return nil
}

// reconstruct fills the files and says how they are packed best.
func (s *series) reconstruct(ctx context.Context, st station, p plain) (o seal.Options, err error) {
	f, err := os.Open(filepath.Join(st.dir, deltaFile))
	if err != nil {
		return o, err
	}
	defer f.Close()
	file, err := sized(f)
	if err != nil {
		return o, err
	}
	d, err := excp.Open(file)
	if err != nil {
		return o, fmt.Errorf("%s: %w", deltaFile, err)
	}
	base, err := s.last.checkpoint()
	if err != nil {
		return o, err
	}
	notes, err := s.s.Reconstruct(ctx, d, base, p.model, p.optimizer)
	for _, note := range notes {
		s.j.progress.say("%s: %s", st.dest, note)
	}
	if err != nil {
		return o, fmt.Errorf("%s: %w", deltaFile, err)
	}
	o.Profile = archive.Profile{Name: "excp", Alpha: 5e-5, Beta: 2, Bits: uint8(max(2, bits.Len(uint(d.Centres()))))}
	o.Base, err = s.base(ctx, st, p)
	return o, errors.Join(err, dressLike(f.Name(), p.model.Name()), dressLike(f.Name(), p.optimizer.Name()))
}

// base is the archive of the model before, if it has the same tensors and the model is
// yet to be packed: it is the difference to no other. Of what did not change at all a copy is made.
func (s *series) base(ctx context.Context, st station, p plain) (string, error) {
	there, err := s.j.isThere(path.Join(st.dest, modelFile))
	if err != nil || there {
		return "", err
	}
	base := path.Join(s.dest, modelFile)
	r, err := s.j.s.OpenArchive(base)
	if err != nil {
		return "", nil // it is plain, as what is small is
	}
	defer r.Close()
	file, err := sized(p.model)
	if err != nil {
		return "", err
	}
	l, err := safetensors.Parse(file, file.Size)
	if err != nil || r.Index().Schema != archive.ID(l.Schema()) {
		return "", err
	}
	if file.Size == r.Index().Size {
		if same, err := sameBytes(ctx, s.last.model, p.model, file.Size); same || err != nil {
			return "", err
		}
	}
	return base, nil
}

// dressLike gives a file mode and time of another.
func dressLike(from, to string) error {
	st, err := os.Stat(from)
	if err != nil {
		return err
	}
	return errors.Join(os.Chmod(to, st.Mode().Perm()), os.Chtimes(to, st.ModTime(), st.ModTime()))
}

// keep packs the two files, then the rest of the checkpoint's folder.
func (s *series) keep(ctx context.Context, st station, dir string, o seal.Options) error {
	if err := s.j.keep(ctx, st.dest, []string{filepath.Join(dir, modelFile), filepath.Join(dir, stateFile)}, o); err != nil {
		return err
	}
	all, err := filesOf(st.dir)
	if err != nil {
		return err
	}
	rest := slices.DeleteFunc(all, func(p string) bool {
		return slices.Contains([]string{modelFile, stateFile, deltaFile}, filepath.Base(p))
	})
	return s.j.keep(ctx, st.dest, rest, seal.Options{Profile: archive.Profile{Name: "exact"}})
}

// readLines reads a file of names.
func readLines(name string) (list []string, err error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	for s := bufio.NewScanner(f); ; {
		if !s.Scan() {
			return list, s.Err()
		}
		if line := strings.TrimSpace(s.Text()); line != "" {
			list = append(list, line)
		}
	}
}
