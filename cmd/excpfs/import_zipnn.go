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
	"strings"

	"excpfs/archive"
	"excpfs/seal"
	"excpfs/zipnn"
)

// zipnn imports files of ZipNN, and folders with some.
func (j *importJob) zipnn(ctx context.Context) error {
	for _, src := range j.sources {
		st, err := os.Stat(src)
		if err != nil {
			return err
		}
		dest := j.at.path
		if st.IsDir() {
			if len(j.sources) > 1 {
				dest = path.Join(dest, filepath.Base(mustAbs(src)))
			}
			if err := j.zipnnFolder(ctx, dest, src); err != nil {
				return err
			}
			continue
		}
		is, err := isZipnn(src)
		if err != nil {
			return err
		}
		if !is {
			return fmt.Errorf("%s is no file of ZipNN", src)
		}
		if err := j.zipnnFile(ctx, dest, src); err != nil {
			return err
		}
	}
	return nil
}

// zipnnFolder imports all that a folder holds.
func (j *importJob) zipnnFolder(ctx context.Context, dest, folder string) error {
	all, err := filesOf(folder)
	if err != nil {
		return err
	}
	for _, p := range all {
		st, err := os.Stat(p)
		switch {
		case err != nil:
		case st.IsDir():
			err = j.zipnnFolder(ctx, path.Join(dest, filepath.Base(p)), p)
		case st.Mode().IsRegular():
			err = j.zipnnFile(ctx, dest, p)
		default: // to open a FIFO would wait for ever
			err = fmt.Errorf("%s is neither file nor folder", p)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func isZipnn(name string) (bool, error) {
	f, err := os.Open(name)
	if err != nil {
		return false, err
	}
	defer f.Close()
	file, err := sized(f)
	if err != nil {
		return false, err
	}
	return zipnn.Sniff(f, file.Size)
}

// zipnnFile imports one file of a folder: decompressed if it is ZipNN's.
func (j *importJob) zipnnFile(ctx context.Context, dest, src string) error {
	is, err := isZipnn(src)
	if err != nil {
		return err
	}
	to := filepath.Join(j.temp, plainName(filepath.Base(src)))
	defer os.Remove(to)
	switch {
	case is:
		err = j.decompress(ctx, dest, src, to)
	case strings.HasSuffix(src, ".index.json"):
		err = plainIndex(src, to)
	default:
		to = src
	}
	if err == nil {
		err = j.keep(ctx, dest, []string{to}, seal.Options{Profile: archive.Profile{Name: "exact"}})
	}
	if err != nil {
		return fmt.Errorf("%s: %w", src, err)
	}
	return nil
}

// plainName is what ZipNN's own programs call the decompressed file.
func plainName(name string) string {
	if base, ok := strings.CutSuffix(name, ".znn.safetensors"); ok {
		return base + ".safetensors"
	}
	return strings.TrimSuffix(name, ".znn")
}

func (j *importJob) decompress(ctx context.Context, dest, src, to string) error {
	in, err := os.Open(src)
	if err != nil {
		return err
	}
	defer in.Close()
	file, err := sized(in)
	if err != nil {
		return err
	}
	f, err := zipnn.Open(in, file.Size)
	if err != nil {
		return err
	}
	for _, note := range f.Notes() {
		j.progress.say("%s: %s", path.Join(dest, filepath.Base(to)), note)
	}
	out, err := os.OpenFile(to, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.WriteTo(stopping{ctx, out})
	return errors.Join(err, out.Close(), dressLike(src, to))
}

// stopping is a writer until the context ends.
type stopping struct {
	ctx context.Context
	w   io.Writer
}

func (s stopping) Write(p []byte) (int, error) {
	if s.ctx.Err() != nil {
		return 0, context.Cause(s.ctx)
	}
	return s.w.Write(p)
}

// plainIndex writes the index of a sharded model with the names of the decompressed shards.
func plainIndex(src, to string) error {
	b, err := os.ReadFile(src)
	if err != nil {
		return err
	}
	b = bytes.ReplaceAll(b, []byte(`.znn.safetensors"`), []byte(`.safetensors"`))
	b = bytes.ReplaceAll(b, []byte(`.safetensors.znn"`), []byte(`.safetensors"`))
	if err := os.WriteFile(to, b, 0o600); err != nil {
		return err
	}
	return dressLike(src, to)
}
