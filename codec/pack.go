package codec

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/bits"
	"sync"

	"github.com/klauspost/compress/huff0"
)

// Methods of a packed block. Below packHuff1 the method is a width: symbols of so many bits.
const (
	packBits  = 0 // .. 8
	packConst = 9
	packHuff1 = 10
	packHuff4 = 11
	packFSE   = 12
)

const (
	// packBlock is the most bytes that share one table.
	packBlock = 128 << 10
	// fseGain is how much smaller fse has to be to be taken: it decodes at half the speed of huff0.
	// exactGain is the same for large blocks of exact payloads, where every element has a symbol.
	fseGain   = 0.995
	exactGain = 0.95
	// huff4Min is the block size from which on four streams are worth their six bytes.
	huff4Min = 4096
)

// packer is the scratch of packing and unpacking.
type packer struct {
	huff    *huff0.Scratch
	table   fseTable
	encoder fseEncoder
	out     []byte
}

var packers = sync.Pool{New: func() any { return &packer{huff: new(huff0.Scratch)} }}

// appendPacked appends bytes of small entropy in blocks, each in the shortest way; gain is
// fseGain or exactGain.
func appendPacked(dst, src []byte, gain float64) []byte {
	p := packers.Get().(*packer)
	for len(src) > packBlock {
		dst = p.block(dst, src[:packBlock], gain)
		src = src[packBlock:]
	}
	dst = p.block(dst, src, gain)
	packers.Put(p)
	return dst
}

// unpack fills dst from the front of src and returns the rest of src.
func unpack(dst, src []byte) ([]byte, error) {
	p := packers.Get().(*packer)
	defer packers.Put(p)
	var err error
	for len(dst) > packBlock && err == nil {
		src, err = p.unblock(dst[:packBlock], src)
		dst = dst[packBlock:]
	}
	if err != nil {
		return nil, err
	}
	return p.unblock(dst, src)
}

func (p *packer) block(dst, src []byte, gain float64) []byte {
	if len(src) == 0 {
		return dst
	}
	h := histogram(src)
	top, kinds := 0, 0
	for s, n := range h {
		if n > 0 {
			top = s
			kinds++
		}
	}
	if kinds == 1 && top > 0 {
		return append(dst, packConst, byte(top))
	}
	w := lenBits(top)
	raw := (len(src)*w + 7) / 8
	if entropy := int(entropyBits(h[:], len(src)) / 8); kinds > 1 && entropy < raw-raw/256 {
		if method, coded := p.entropy(src, &h, entropy, raw, gain); coded != nil {
			dst = binary.AppendUvarint(append(dst, method), uint64(len(coded)))
			return append(dst, coded...)
		}
	}
	return appendBits(append(dst, byte(w)), src, uint(w))
}

// entropy codes a block by huff0 or, where that is smaller by the gain, fse; nil when neither
// stays below limit.
func (p *packer) entropy(src []byte, h *[256]uint32, entropy, limit int, gain float64) (method byte, coded []byte) {
	p.huff.Reuse = huff0.ReusePolicyNone
	var out []byte
	var err error
	best := float64(limit)
	if len(src) >= huff4Min {
		method = packHuff4
		out, _, err = huff0.Compress4X(src, p.huff)
	} else {
		method = packHuff1
		out, _, err = huff0.Compress1X(src, p.huff)
		gain = fseGain
	}
	if n := len(out) + lenUvarint(len(out)); err == nil && n < limit {
		coded, best = out, float64(n)
	}
	if float64(entropy)+4 >= best*gain {
		return method, coded
	}
	p.table.fit(h, len(src))
	p.out = p.encoder.append(p.table.append(p.out[:0]), src, &p.table)
	if n := len(p.out) + lenUvarint(len(p.out)); float64(n) < best*gain {
		return packFSE, p.out
	}
	return method, coded
}

func (p *packer) unblock(dst, src []byte) ([]byte, error) {
	if len(dst) == 0 {
		return src, nil
	}
	if len(src) == 0 {
		return nil, fmt.Errorf("%w: block is missing", ErrCorrupt)
	}
	method, src := src[0], src[1:]
	switch {
	case method <= 8:
		return unpackBits(dst, src, uint(method))
	case method == packConst && len(src) > 0:
		for i := range dst {
			dst[i] = src[0]
		}
		return src[1:], nil
	case method > packFSE || method == packConst:
		return nil, fmt.Errorf("%w: block method %d", ErrCorrupt, method)
	}
	n, k := binary.Uvarint(src)
	if k <= 0 || n > uint64(len(src)-k) {
		return nil, fmt.Errorf("%w: block length", ErrCorrupt)
	}
	coded, rest := src[k:k+int(n)], src[k+int(n):]
	if err := p.decode(dst, coded, method); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	return rest, nil
}

// decode fills dst, which may be followed by other data in memory, exactly.
func (p *packer) decode(dst, coded []byte, method byte) error {
	if method == packFSE {
		coded, err := p.table.read(coded)
		if err != nil {
			return err
		}
		return p.table.decode(dst, coded)
	}
	h, coded, err := huff0.ReadTable(coded, p.huff)
	if err != nil {
		return err
	}
	p.huff = h
	decompress := h.Decoder().Decompress4X
	if method == packHuff1 {
		decompress = h.Decoder().Decompress1X
	}
	out, err := decompress(dst[:0:len(dst)], coded)
	if err == nil && len(out) != len(dst) {
		err = fmt.Errorf("block of %d bytes where %d belong", len(out), len(dst))
	}
	return err
}

// histogram counts in four tables, so that runs of one byte do not wait for each other.
func histogram(src []byte) (h [256]uint32) {
	var t [3][256]uint32
	for len(src) >= 4 {
		h[src[0]]++
		t[0][src[1]]++
		t[1][src[2]]++
		t[2][src[3]]++
		src = src[4:]
	}
	for _, b := range src {
		h[b]++
	}
	for i := range h {
		h[i] += t[0][i] + t[1][i] + t[2][i]
	}
	return h
}

// entropyBits is the order-0 entropy of n symbols.
func entropyBits(h []uint32, n int) float64 {
	e := 0.0
	for _, c := range h {
		if c > 0 {
			e -= float64(c) * math.Log2(float64(c)/float64(n))
		}
	}
	return e
}

func maxByte(src []byte) (m byte) {
	for _, b := range src {
		m = max(m, b)
	}
	return m
}

func lenUvarint(n int) int { return (lenBits(n|1) + 6) / 7 }

func lenBits(n int) int { return bits.Len(uint(n)) }

// appendBits stores the low w bits of each symbol.
func appendBits(dst, src []byte, w uint) []byte {
	switch w {
	case 0:
		return dst
	case 8:
		return append(dst, src...)
	}
	bw := bitWriter{dst: dst}
	for _, s := range src {
		bw.put(uint64(s), w)
	}
	return bw.bytes()
}

func unpackBits(dst, src []byte, w uint) ([]byte, error) {
	n := (len(dst)*int(w) + 7) / 8
	if n > len(src) {
		return nil, fmt.Errorf("%w: block ends early", ErrCorrupt)
	}
	if w == 8 {
		copy(dst, src)
		return src[n:], nil
	}
	acc, have, at := uint64(0), uint(0), 0
	for i := range dst {
		if have < w {
			acc |= uint64(src[at]) << have
			at++
			have += 8
		}
		dst[i] = byte(acc) & (1<<w - 1)
		acc >>= w
		have -= w
	}
	return src[n:], nil
}
