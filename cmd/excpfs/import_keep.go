package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"syscall"

	"excpfs/archive"
	"excpfs/seal"
)

// noDepth lets a series be as deep as it is long, as far as archives go.
const noDepth = 250

// keep brings files outside the store into a folder of it: those that are there already
// are compared, the others packed and then compared. What a profile would not give back
// byte by byte is packed again as exact. Folders are entered.
func (j *importJob) keep(ctx context.Context, dest string, files []string, o seal.Options) error {
	var missing []string
	for _, file := range files {
		at := path.Join(dest, filepath.Base(file))
		if st, err := os.Stat(file); err != nil {
			return err
		} else if st.IsDir() {
			if err := j.keepFolder(ctx, at, file, o); err != nil {
				return err
			}
			continue
		}
		there, err := j.isThere(at)
		if err == nil && there {
			err = j.pass(ctx, at, file)
		} else if err == nil {
			missing = append(missing, file)
		}
		if err != nil {
			return err
		}
	}
	if len(missing) == 0 {
		return nil
	}
	if err := j.pack(ctx, dest, missing, o); err != nil {
		return err
	}
	for _, file := range missing {
		if err := j.prove(ctx, dest, file, o); err != nil {
			return err
		}
	}
	return nil
}

func (j *importJob) keepFolder(ctx context.Context, at, folder string, o seal.Options) error {
	files, err := filesOf(folder)
	if err != nil {
		return err
	}
	return j.keep(ctx, at, files, o)
}

// filesOf lists all that a folder holds.
func filesOf(folder string) (list []string, err error) {
	entries, err := os.ReadDir(folder)
	for _, e := range entries {
		list = append(list, filepath.Join(folder, e.Name()))
	}
	return list, err
}

// pass goes over a file that is there: it must be the same.
func (j *importJob) pass(ctx context.Context, at, file string) error {
	same, err := j.same(ctx, at, file)
	if err == nil && !same {
		err = fmt.Errorf("%s is in the store, but not as the import gives it: remove it, or import to another folder", path.Join(j.s.Path(), at))
	}
	if err == nil {
		j.passed++
		j.progress.add(at, 0)
	}
	return err
}

func (j *importJob) pack(ctx context.Context, dest string, files []string, o seal.Options) error {
	o.Workers, o.MaxDepth = j.workers, noDepth
	var failed error
	o.Progress = func(e seal.Event) {
		failed = errors.Join(failed, e.Err)
		j.progress.add(e.Path, e.Logical)
	}
	if len(files) == 1 { // as cp: of one, the destination is the name
		dest = path.Join(dest, filepath.Base(files[0]))
	}
	return errors.Join(seal.New(j.s, o).Pack(ctx, files, dest), failed)
}

// prove compares a file with what the store shows of it.
func (j *importJob) prove(ctx context.Context, dest, file string, o seal.Options) error {
	at := path.Join(dest, filepath.Base(file))
	same, err := j.same(ctx, at, file)
	if err == nil && !same && o.Profile.Name != "exact" {
		if err = j.remove(at); err == nil {
			o.Profile = archive.Profile{Name: "exact"}
			err = j.pack(ctx, dest, []string{file}, o)
		}
		if err == nil {
			same, err = j.same(ctx, at, file)
		}
	}
	if err == nil && !same {
		err = fmt.Errorf("%s does not read as what was packed", path.Join(j.s.Path(), at))
	}
	if err != nil {
		return err
	}
	return j.count(at)
}

func (j *importJob) remove(at string) error {
	t, err := find(j.s, at)
	if err != nil {
		return err
	}
	defer t.dir.Release()
	return t.dir.Unlink(t.name)
}

func (j *importJob) count(at string) error {
	t, err := find(j.s, at)
	if err != nil {
		return err
	}
	defer t.dir.Release()
	j.files++
	j.logical += t.logical()
	j.stored += min(t.stored(), t.logical())
	return nil
}

// same compares a file of the store with one outside.
func (j *importJob) same(ctx context.Context, at, file string) (bool, error) {
	got, size, done, err := j.kept(ctx, at)
	if err != nil {
		return false, err
	}
	defer done()
	want, err := os.Open(file)
	if err != nil {
		return false, err
	}
	defer want.Close()
	if st, err := want.Stat(); err != nil || st.Size() != size {
		return false, err
	}
	same, err := sameBytes(ctx, got, want, size)
	if err != nil {
		err = fmt.Errorf("%s: %w", at, err)
	}
	return same, err
}

// sameBytes compares up to the first difference.
func sameBytes(ctx context.Context, x, y io.ReaderAt, size int64) (bool, error) {
	const step = 1 << 20
	a, b := make([]byte, min(step, size)), make([]byte, min(step, size))
	for off := int64(0); off < size; off += step {
		if ctx.Err() != nil {
			return false, context.Cause(ctx)
		}
		a, b = a[:min(step, size-off)], b[:min(step, size-off)]
		for _, r := range []struct {
			io.ReaderAt
			p []byte
		}{{x, a}, {y, b}} {
			if _, err := io.ReadFull(io.NewSectionReader(r, off, size-off), r.p); err != nil {
				return false, err
			}
		}
		if !bytes.Equal(a, b) {
			return false, nil
		}
	}
	return true, nil
}

func sameDevice(a, b string) bool {
	var x, y syscall.Stat_t
	return syscall.Stat(a, &x) == nil && syscall.Stat(b, &y) == nil && x.Dev == y.Dev
}
