package archive

import (
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"sync/atomic"
)

// Reader gives the parts of one archive. It is safe for concurrent use.
type Reader struct {
	src     io.ReaderAt
	name    string
	size    int64
	version uint16
	index   *Index
	trailer Trailer
	inline  []byte // blocks inside the index
	end     int64  // of the block area
	byName  map[string]int
	reads   atomic.Int64
}

// ReadSummary reads what a listing needs: summary and trailer, in one read of
// at most 4 KiB where the dependencies are few.
func ReadSummary(r io.ReaderAt, size int64, name string) (Summary, Trailer, error) {
	f := file{r, size, name}
	sum, t, _, err := f.tail()
	return sum, t, err
}

// Open checks header, trailer, summary and index of an archive of size bytes.
// Close closes r when it is an io.Closer. name is used in errors.
func Open(r io.ReaderAt, size int64, name string) (*Reader, error) {
	f := file{r, size, name}
	version, err := f.header()
	if err != nil {
		return nil, err
	}
	sum, t, s, err := f.tail()
	if err != nil {
		return nil, err
	}
	if s.version != version {
		return nil, f.damage(size-trailerSize, fmt.Sprintf("version %d in the header, %d in the trailer", version, s.version))
	}
	end := size - trailerSize - int64(s.summary) - s.index()
	p := make([]byte, s.index())
	if err := f.read(p, end); err != nil {
		return nil, err
	}
	if checksum(p) != s.indexCRC {
		return nil, f.damage(end, "index checksum does not match")
	}
	ix, inline, err := parseIndex(p, s, sum, end)
	if err != nil {
		return nil, f.damage(end, "index: "+err.Error())
	}
	a := &Reader{src: r, name: name, version: version, size: size, index: ix, trailer: t, inline: inline, end: end}
	a.byName = make(map[string]int, len(ix.Tensors))
	for i := range ix.Tensors {
		a.byName[ix.Tensors[i].Name] = i
	}
	if len(a.byName) != len(ix.Tensors) {
		return nil, f.damage(end, "index: two tensors of one name")
	}
	return a, nil
}

// parseIndex reads and checks the stored index, whose checksum matches.
func parseIndex(p []byte, s sections, sum Summary, blocksEnd int64) (*Index, []byte, error) {
	unpacked, err := unpack(p[:s.packed], s.unpacked)
	if err != nil {
		return nil, nil, err
	}
	ix, inline, err := decodeIndex(s.version, sum, unpacked, p[s.packed:], uint64(s.packed))
	if err != nil {
		return nil, nil, err
	}
	return ix, inline, ix.check(blocksEnd)
}

// Name is the name given to Open.
func (r *Reader) Name() string { return r.name }

// Index is shared: not to be changed.
func (r *Reader) Index() *Index { return r.index }

// Trailer returns the fixed end.
func (r *Reader) Trailer() Trailer { return r.trailer }

// Block reads a block into dst (grown as needed) and checks it. tensor is for the error.
func (r *Reader) Block(b Block, tensor string, dst []byte) ([]byte, error) {
	r.reads.Add(1)
	dst = dst[:0]
	if b.Offset < 0 || b.Length == 0 {
		p := inlined(r.inline, b)
		if p == nil && b.Length > 0 {
			return nil, &DamageError{r.name, tensor, r.end, "inline block is outside the index"}
		}
		return append(dst, p...), nil
	}
	if b.Offset < headerSize || int64(b.Length) > min(r.end-b.Offset, math.MaxInt) {
		return nil, &DamageError{r.name, tensor, b.Offset, fmt.Sprintf("block of %d bytes is outside the blocks", b.Length)}
	}
	dst = slices.Grow(dst, int(b.Length))[:b.Length]
	f := file{r.src, r.size, r.name}
	if err := f.read(dst, b.Offset); err != nil {
		if d, ok := errors.AsType[*DamageError](err); ok {
			d.Tensor = tensor
		}
		return nil, err
	}
	if checksum(dst) != b.CRC {
		return nil, &DamageError{r.name, tensor, b.Offset, "block checksum does not match"}
	}
	return dst, nil
}

// Find returns the position of a tensor by name.
func (r *Reader) Find(name string) (int, bool) {
	i, ok := r.byName[name]
	return i, ok
}

// Reads counts calls of Block, for tests that assert laziness.
func (r *Reader) Reads() int64 { return r.reads.Load() }

// Close closes the source.
func (r *Reader) Close() error {
	if c, ok := r.src.(io.Closer); ok {
		return c.Close()
	}
	return nil
}
