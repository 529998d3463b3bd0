package zipnn

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"

	"excpfs/codec"
	"excpfs/safetensors"
	"excpfs/tensor"
)

// metadataKey has, in a safetensors file, the compressed tensors' names. ZipNN writes it
// only where the file has other metadata, and can itself only decompress where it is.
const metadataKey = "znn_compressed_vectors"

// File is a file that ZipNN wrote.
type File struct {
	size  int64  // when decompressed
	head  []byte // of a safetensors file
	parts []part
	notes []string
}

// part is what goes to the plain file next: a stream, or bytes as they are.
type part struct {
	name   string
	stream *stream
	plain  *io.SectionReader
}

// Sniff reports whether a file is one of ZipNN's: streams, or a safetensors file with some.
func Sniff(r io.ReaderAt, size int64) (bool, error) {
	head := make([]byte, min(16, size))
	if err := readAt(r, head, 0); err != nil {
		return false, err
	}
	if strings.HasPrefix(string(head), magic) {
		return true, nil
	}
	if !safetensors.Sniff(head, size) {
		return false, nil
	}
	f, err := Open(r, size)
	if _, ok := errors.AsType[*safetensors.FormatError](err); ok {
		return false, nil
	}
	if _, ok := errors.AsType[*FormatError](err); ok {
		return true, nil // told when it is opened
	}
	if err != nil {
		return false, err
	}
	for _, p := range f.parts {
		if p.stream != nil {
			return true, nil
		}
	}
	return false, nil
}

// Open reads and checks everything but the chunks. The error is a *FormatError or a
// *safetensors.FormatError where the file cannot be read.
func Open(r io.ReaderAt, size int64) (*File, error) {
	head := make([]byte, min(2, size))
	if err := readAt(r, head, 0); err != nil {
		return nil, err
	}
	if string(head) == magic {
		return openStreams(r, size)
	}
	return openSafetensors(r, size)
}

// openStreams takes a file of streams one after another.
func openStreams(r io.ReaderAt, size int64) (*File, error) {
	f := &File{}
	for at := int64(0); at < size; {
		s, err := openStream(r, at, size-at)
		if err != nil {
			return nil, err
		}
		f.parts = append(f.parts, part{stream: s})
		f.size += s.original
		at += s.length
	}
	return f, nil
}

func openSafetensors(r io.ReaderAt, size int64) (*File, error) {
	l, err := safetensors.Parse(r, size)
	if err != nil {
		return nil, err
	}
	meta, err := safetensors.Metadata(r, size)
	if err != nil {
		return nil, err
	}
	listed, meta, err := compressed(meta)
	if err != nil {
		return nil, err
	}
	f := &File{}
	parts := map[string]part{}
	var plain []tensor.Info
	for _, t := range l.Tensors {
		s, err := streamOf(r, t, listed)
		if err != nil {
			return nil, err
		}
		parts[t.Name] = part{t.Name, s, io.NewSectionReader(r, t.Offset, t.Length)}
		if s != nil {
			t.DType, t.Shape, t.Length = s.dtype, s.shape, s.original
		} else if damaged(r, t) {
			f.notes = append(f.notes, fmt.Sprintf("tensor %q: ZipNN left it uncompressed, with its bits reordered, "+
				"which its own decompression does not undo either: the values are not the original's", t.Name))
		}
		plain = append(plain, t)
	}
	safetensors.Arrange(plain)
	for _, t := range plain {
		f.parts = append(f.parts, parts[t.Name])
		f.size += t.Length
	}
	f.head, err = safetensors.AppendHeader(nil, meta, plain)
	f.size += int64(len(f.head))
	return f, err
}

// compressed reads which tensors are compressed; nil if that is not said. It drops the entry.
func compressed(meta []safetensors.Entry) (map[string]bool, []safetensors.Entry, error) {
	for i, e := range meta {
		if e.Key != metadataKey {
			continue
		}
		var list map[string]json.RawMessage
		if err := json.Unmarshal([]byte(e.Value), &list); err != nil {
			return nil, nil, &FormatError{Reason: fmt.Sprintf("metadata %s: %v", metadataKey, err)}
		}
		listed := map[string]bool{}
		for name := range list {
			listed[name] = true
		}
		return listed, append(meta[:i:i], meta[i+1:]...), nil
	}
	return nil, meta, nil
}

// streamOf takes a tensor for a stream if it is listed, or if there is no list and it is
// one whole stream; nil: it is not.
func streamOf(r io.ReaderAt, t tensor.Info, listed map[string]bool) (*stream, error) {
	if listed != nil && !listed[t.Name] || listed == nil && (t.DType != tensor.U8 || len(t.Shape) != 1) {
		return nil, nil
	}
	s, err := openStream(r, t.Offset, t.Length)
	if err == nil && (s.length != t.Length || s.input != inputTorch) {
		err = &FormatError{Offset: t.Offset, Reason: fmt.Sprintf("stream of kind %d and %d bytes in a tensor of %d", s.input, s.length, t.Length)}
	}
	if e, ok := errors.AsType[*FormatError](err); ok {
		if listed == nil {
			return nil, nil
		}
		e.Tensor = t.Name
	}
	return s, err
}

// Size is that of the plain file.
func (f *File) Size() int64 { return f.size }

// Notes are lines on what is odd.
func (f *File) Notes() []string { return f.notes }

// WriteTo writes the plain file.
func (f *File) WriteTo(w io.Writer) (int64, error) {
	c := &counter{w: w}
	if _, err := c.Write(f.head); err != nil {
		return c.n, err
	}
	var d decoder
	for _, p := range f.parts {
		var err error
		if p.stream != nil {
			err = p.stream.writeTo(c, &d)
		} else {
			_, err = io.Copy(c, p.plain)
		}
		if e, ok := errors.AsType[*FormatError](err); ok {
			e.Tensor = p.name
		}
		if err != nil {
			return c.n, err
		}
	}
	if c.n != f.size {
		return c.n, fmt.Errorf("zipnn: %d bytes written of %d: %w", c.n, f.size, io.ErrUnexpectedEOF)
	}
	return c.n, nil
}

type counter struct {
	w io.Writer
	n int64
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}

// damaged guesses whether a tensor beside the streams has the reordered bits that ZipNN 0.5.4
// leaves in what it tried to compress and could not: absurd values that unrotate mends.
func damaged(r io.ReaderAt, t tensor.Info) bool {
	const probe = 64 << 10 // bytes
	if t.DType != tensor.F32 && t.DType != tensor.BF16 || t.Length < 4 {
		return false
	}
	b := make([]byte, min(t.Length, probe)/4*4)
	if readAt(r, b, t.Offset) != nil {
		return false
	}
	before := largest(codec.Floats(nil, b, t.DType))
	unrotate(b, t.DType.Width())
	return !(before < 1e15) && largest(codec.Floats(nil, b, t.DType)) < 1e6
}

// largest is the largest absolute value; NaN if there is one.
func largest(list []float32) float32 {
	m := float32(0)
	for _, x := range list {
		m = max(m, float32(math.Abs(float64(x))))
	}
	return m
}
