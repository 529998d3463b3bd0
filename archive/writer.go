package archive

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
)

// Writer writes an archive front to back. Append may be called from one
// goroutine at a time.
type Writer struct {
	w       io.Writer
	version uint16
	size    int64
	inline  []byte // blocks that will be in the index
	err     error  // of w; nothing is written after one
}

// NewWriter writes the header of an archive of version 1.
func NewWriter(w io.Writer) (*Writer, error) { return newWriter(w, 1) }

// NewWriterFor writes the header of an archive of a file of a format, in the oldest
// version that is good for it.
func NewWriterFor(w io.Writer, format string) (*Writer, error) {
	if format == "safetensors" {
		return NewWriter(w)
	}
	return newWriter(w, versionStructured)
}

func newWriter(w io.Writer, version uint16) (*Writer, error) {
	a := &Writer{w: w, version: version}
	return a, a.write(appendHeader(nil, version))
}

func (w *Writer) write(p []byte) error {
	if w.err != nil {
		return w.err
	}
	n, err := w.w.Write(p)
	w.size += int64(n)
	if err != nil {
		w.err = fmt.Errorf("archive: %w", err)
	}
	return w.err
}

// Append stores one block.
func (w *Writer) Append(p []byte) (Block, error) {
	b := Block{Length: uint32(len(p))}
	switch {
	case uint64(len(p)) > math.MaxUint32:
		return Block{}, fmt.Errorf("archive: block of %d bytes", len(p))
	case len(p) <= inlineMax:
		b.Offset = ^int64(len(w.inline))
		w.inline = append(w.inline, p...)
		return b, w.err
	}
	b.Offset, b.CRC = w.size, checksum(p)
	return b, w.write(p)
}

// Finish writes index, summary and trailer, after decoding its own index and
// comparing. The caller syncs and renames.
func (w *Writer) Finish(ix *Index, t Trailer) error {
	if w.err != nil {
		return w.err
	}
	p, err := w.sections(ix, t)
	if err != nil {
		return fmt.Errorf("archive: %w", err)
	}
	return w.write(p)
}

// sections spells all that follows the blocks.
func (w *Writer) sections(ix *Index, t Trailer) ([]byte, error) {
	if err := ix.check(w.size); err != nil {
		return nil, err
	}
	for i := range ix.Tensors {
		for b := range ix.Tensors[i].blocks() {
			if b.Length > 0 && b.Offset < 0 && inlined(w.inline, *b) == nil {
				return nil, fmt.Errorf("tensor %q: a block that Append did not return", ix.Tensors[i].Name)
			}
		}
	}
	unpacked, raw := encodeIndex(w.version, ix, w.inline)
	packed, err := pack(unpacked, ix.inlined())
	if err != nil {
		return nil, err
	}
	out := append(packed, raw...)
	s := sections{version: w.version, packed: uint32(len(packed)), unpacked: uint32(len(unpacked)), raw: uint32(len(raw)), indexCRC: checksum(out)}
	summary := appendSummary(nil, &ix.Summary)
	s.summary, s.summaryCRC = uint32(len(summary)), checksum(summary)
	out = append(out, summary...)
	s.size = w.size + int64(len(out)) + trailerSize
	if err := s.check(s.size); err != nil {
		return nil, err
	}
	return appendTrailer(out, t, s), verifyIndex(out, s, w.size)
}

// verifyIndex reads index and summary back and compares.
func verifyIndex(p []byte, s sections, blocksEnd int64) error {
	index, summary := p[:s.index()], p[s.index():]
	sum, err := parseSummary(summary)
	if err != nil {
		return err
	}
	ix, inline, err := parseIndex(index, s, sum, blocksEnd)
	if err != nil {
		return err
	}
	unpacked, raw := encodeIndex(s.version, ix, inline)
	want, err := unpack(index[:s.packed], s.unpacked)
	if err != nil {
		return err
	}
	if !bytes.Equal(unpacked, want) || !bytes.Equal(raw, index[s.packed:]) || !bytes.Equal(summary, appendSummary(nil, &sum)) {
		return errors.New("index does not read back as it was written")
	}
	return nil
}

// Size is the number of bytes written so far.
func (w *Writer) Size() int64 { return w.size }
