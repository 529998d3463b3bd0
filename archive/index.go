package archive

import (
	"errors"
	"fmt"

	"excpfs/tensor"
)

// ID names a content: the first 16 bytes of the SHA-256 of the decoded file.
type ID [16]byte

// Index is everything of an archive but its blocks and its trailer.
type Index struct {
	Summary
	Hash     [32]byte // SHA-256 of the decoded file; it begins with ID
	Format   string   // tensor.Layout.Format
	Verbatim []byte   // the bytes of all gaps of the layout, in order
	Tensors  []Tensor // in file order
}

// Tensor is one tensor of an archive. The archive package stores these fields
// and checks only what keeps reading safe (ranges, counts); their meaning is
// given by codec and decode.
type Tensor struct {
	tensor.Info
	Method   uint8    // codec.Method
	Base     int      // index into Deps of the base, whose tensor has the same name; -1: none
	Weights  int      // index into Deps of the file that holds the weight; -1: none, or this file when Mask is set
	Mask     string   // name of the weight whose residual mask the support is coded in; "": coded by itself
	Support  int      // index into Tensors of the tensor whose Supports this one shares; -1: its own or none
	Model    Block    // parameters of the whole tensor (codec), Length 0: none
	Chunks   []Block  // payloads, in order; none for a method without
	Supports []Block  // for a first moment: positions, one block a chunk
	Hash     [16]byte // first half of the SHA-256 of the decoded payload; zero where that is at most 64 bytes
	Mean     float64  // mean of |x| of the original, moments only; stored as float32
	Error    float64  // relative RMS error, 0: exact; stored as float32
}

// Block is a run of stored bytes, checked before use. It comes from
// Writer.Append or an Index; a negative Offset is a place inside the index.
type Block struct {
	Offset int64
	Length uint32
	CRC    uint32 // CRC-32C; 0 for a block inside the index
}

// Layout is the layout of the decoded file.
func (ix *Index) Layout() *tensor.Layout {
	l := &tensor.Layout{Format: ix.Format, Size: ix.Size, Tensors: make([]tensor.Info, len(ix.Tensors))}
	for i := range ix.Tensors {
		l.Tensors[i] = ix.Tensors[i].Info
	}
	return l
}

// check proves what reading relies on. Blocks lie between the header and blocksEnd.
func (ix *Index) check(blocksEnd int64) error {
	l := ix.Layout()
	if err := l.Check(); err != nil {
		return err
	}
	gaps := int64(0)
	l.Gaps(func(_, n int64) error { gaps += n; return nil })
	switch {
	case gaps != int64(len(ix.Verbatim)):
		return fmt.Errorf("%d verbatim bytes for %d bytes without a tensor", len(ix.Verbatim), gaps)
	case ix.Schema != l.Schema():
		return errors.New("schema is not that of the tensors")
	case ix.ID != ID(ix.Hash[:16]):
		return errors.New("id is not the beginning of the hash")
	}
	for i := range ix.Tensors {
		if err := ix.checkTensor(i, blocksEnd); err != nil {
			return fmt.Errorf("tensor %q: %w", ix.Tensors[i].Name, err)
		}
	}
	return nil
}

func (ix *Index) checkTensor(i int, blocksEnd int64) error {
	t := &ix.Tensors[i]
	outside := func(n, limit int) bool { return n < -1 || n >= limit }
	switch {
	case t.Method > methodMax:
		return fmt.Errorf("method %d", t.Method)
	case outside(t.Base, len(ix.Deps)) || outside(t.Weights, len(ix.Deps)):
		return fmt.Errorf("dependency %d or %d of %d", t.Base, t.Weights, len(ix.Deps))
	case outside(t.Support, len(ix.Tensors)) || t.Support == i:
		return fmt.Errorf("support of tensor %d of %d", t.Support, len(ix.Tensors))
	case int64(max(len(t.Chunks), len(t.Supports)))-1 > t.Length:
		return fmt.Errorf("%d chunks, %d supports for %d bytes", len(t.Chunks), len(t.Supports), t.Length)
	case t.Length <= hashMin && t.Hash != [16]byte{}:
		return fmt.Errorf("hash of %d bytes", t.Length)
	}
	for b := range t.blocks() {
		if b.Length > 0 && b.Offset >= 0 && (b.Offset < headerSize || int64(b.Length) > blocksEnd-b.Offset) {
			return fmt.Errorf("block %d+%d is outside the blocks, which end at %d", b.Offset, b.Length, blocksEnd)
		}
	}
	return nil
}

// blocks ranges over all blocks of a tensor in the order of the index.
func (t *Tensor) blocks() func(yield func(*Block) bool) {
	return func(yield func(*Block) bool) {
		if t.Model.Length > 0 && !yield(&t.Model) {
			return
		}
		for _, s := range [][]Block{t.Chunks, t.Supports} {
			for i := range s {
				if !yield(&s[i]) {
					return
				}
			}
		}
	}
}

// inlined is the number of bytes that blocks inside the index have.
func (ix *Index) inlined() (n int) {
	for i := range ix.Tensors {
		for b := range ix.Tensors[i].blocks() {
			if b.Offset < 0 {
				n += int(b.Length)
			}
		}
	}
	return n
}
