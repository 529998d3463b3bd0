package codec

import (
	"fmt"
	"slices"
	"sync"

	"excpfs/tensor"
)

// Methods of an exact payload: its first byte.
const (
	exactRaw    = 0 // as it is
	exactPlanes = 1 // byte planes of the elements
	exactDelta  = 2 // byte planes of the differences to the base
	exactRice   = 3 // differences in Golomb-Rice or exponential Golomb codes
	exactLength = 4 // differences by bit length
	exactZstd   = 5 // zstd
)

// lengthGain is how much smaller a large chunk has to be by bit lengths than in planes,
// which decode faster.
const lengthGain = 0.97

// EncodeExact appends the lossless form of src to dst. base is nil or as long
// as src. The first byte of the payload says how; it is never longer than
// len(src) + 16.
func EncodeExact(dst, src, base []byte, d tensor.DType) []byte {
	k := kindOf(d, len(src))
	b := newBuffer(len(src))
	defer buffers.Put(b)
	c := candidates{dst: dst, mark: len(dst), size: len(src) + 2}
	if base != nil && len(base) == len(src) {
		differences(b.data, src, base, k)
		gain := lengthGain
		if len(src)/k.width <= smallInts {
			gain = 1
			c.take(exactRice, gain, func(p []byte) []byte { return appendRice(p, b.data, k.width) })
		}
		diff := newBuffer(len(src))
		defer buffers.Put(diff)
		split(diff.data, b.data, kind{k.width, false})
		c.take(exactDelta, 1, func(p []byte) []byte { return appendPlanes(p, diff.data, k.width) })
		c.take(exactLength, gain, func(p []byte) []byte {
			return appendLengths(p, b.data, k.width, int(gain*float64(c.size)))
		})
	}
	c.take(exactPlanes, 1, func(p []byte) []byte {
		split(b.data, src, k)
		if c.size < len(src) && leastPlanes(b.data, k.width) >= c.size {
			return nil
		}
		return appendPlanes(p, b.data, k.width)
	})
	if c.worthZstd(src, k) {
		c.take(exactZstd, 1, func(p []byte) []byte { return appendZstd(p, src) })
	}
	if len(c.dst)-c.mark == 0 {
		return append(append(dst, exactRaw), src...)
	}
	return c.dst
}

// candidates keeps the shortest of several payloads at the end of dst.
type candidates struct {
	dst     []byte
	mark    int // where payloads begin
	size    int // what the next must be shorter than
	scratch []byte
}

// take keeps a payload that is shorter than gain times the shortest so far. fn returns nil
// when it has none.
func (c *candidates) take(method byte, gain float64, fn func(p []byte) []byte) {
	p := fn(append(c.scratch[:0], method))
	if p == nil {
		return
	}
	if c.scratch = p; float64(len(p)) < gain*float64(c.size) {
		c.dst = append(c.dst[:c.mark], p...)
		c.size = len(p)
	}
}

// worthZstd guesses whether repeats make zstd shorter: tried for integers and for small
// tensors, on a sample for other floats.
func (c *candidates) worthZstd(src []byte, k kind) bool {
	const sample = 32 << 10
	if len(src) < 64 || len(src) > ChunkBytes {
		return false
	}
	if !k.float || len(src) <= sample {
		return true
	}
	at := (len(src) - sample) / 2
	n := len(appendZstd(nil, src[at:at+sample]))
	return float64(n)*float64(len(src)) < 0.9*sample*float64(c.size)
}

// DecodeExact fills dst, whose length is known from the index. base as above; it
// may be dst itself.
func DecodeExact(dst, src, base []byte, d tensor.DType) error {
	if err := decodeExact(dst, src, base, kindOf(d, len(dst))); err != nil {
		return fmt.Errorf("exact: %w", err)
	}
	return nil
}

func decodeExact(dst, src, base []byte, k kind) error {
	if len(src) == 0 {
		return fmt.Errorf("%w: empty", ErrCorrupt)
	}
	method, src := src[0], src[1:]
	switch method {
	case exactRaw:
		if len(src) != len(dst) {
			return fmt.Errorf("%w: %d bytes where %d belong", ErrCorrupt, len(src), len(dst))
		}
		Copy(dst, src)
		return nil
	case exactZstd:
		return parseZstd(dst, src)
	}
	b := newBuffer(len(dst))
	defer buffers.Put(b)
	if method == exactPlanes {
		if err := parsePlanes(b.data, src, k.width); err != nil {
			return err
		}
		merge(dst, b.data, k)
		return nil
	}
	if method > exactLength {
		return fmt.Errorf("%w: method %d", ErrCorrupt, method)
	}
	if len(base) != len(dst) {
		return fmt.Errorf("%w: no base of %d bytes", ErrCorrupt, len(dst))
	}
	switch method {
	case exactDelta:
		if err := parsePlanes(b.data, src, k.width); err != nil {
			return err
		}
		mergeDifferences(dst, base, b.data, k)
		return nil
	case exactRice:
		if err := parseRice(b.data, src, k.width); err != nil {
			return err
		}
	case exactLength:
		if err := parseLengths(b.data, src, k.width); err != nil {
			return err
		}
	}
	addDifferences(dst, base, b.data, k)
	return nil
}

// buffer is the scratch of one chunk.
type buffer struct{ data []byte }

var buffers = sync.Pool{New: func() any { return new(buffer) }}

func newBuffer(n int) *buffer {
	b := buffers.Get().(*buffer)
	b.data = resize(b.data, n)
	return b
}

// appendPlanes packs each of w planes by itself.
func appendPlanes(dst, planes []byte, w int) []byte {
	n := len(planes) / w
	for p := range w {
		dst = appendPacked(dst, planes[p*n:p*n+n], exactGain)
	}
	return dst
}

// leastPlanes is a size that appendPlanes is not below.
func leastPlanes(planes []byte, w int) (size int) {
	n := len(planes) / w
	for p := range w {
		for b := range slices.Chunk(planes[p*n:p*n+n], packBlock) {
			h := histogram(b)
			size += int(entropyBits(h[:], len(b)) / 8)
		}
	}
	return size
}

func parsePlanes(planes, src []byte, w int) error {
	n := len(planes) / w
	var err error
	for p := range w {
		if src, err = unpack(planes[p*n:p*n+n], src); err != nil {
			return err
		}
	}
	if len(src) > 0 {
		return errTail(src)
	}
	return nil
}
