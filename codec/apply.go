package codec

import (
	"encoding/binary"
	"fmt"
	"math"

	"excpfs/tensor"
)

// table is a codebook that any symbol can index.
type table [maxCentres]float32

// newTable checks all but the positions, which the loops do.
func newTable(d tensor.DType, pos []uint32, sym []uint8, centres []float32) (*table, error) {
	if !d.Lossy() {
		return nil, fmt.Errorf("codec: %v is never quantized", d)
	}
	if len(pos) != len(sym) {
		return nil, fmt.Errorf("codec: %d symbols for %d positions", len(sym), len(pos))
	}
	if len(centres) < maxCentres && anyFrom(sym, uint8(len(centres))) {
		return nil, fmt.Errorf("codec: %w: symbol %d of a codebook of %d", ErrCorrupt, maxByte(sym), len(centres))
	}
	var t table
	copy(t[:], centres)
	return &t, nil
}

// anyFrom tells whether a byte is n or more, by eight at a time: bit 7 of each byte of a word
// is that of the byte, or of its lower bits plus 128 - n.
func anyFrom(p []byte, n uint8) bool {
	const ones = 0x0101010101010101
	if n > 128 {
		return maxByte(p) >= n
	}
	seen := uint64(0)
	for ; len(p) >= 8; p = p[8:] {
		v := binary.LittleEndian.Uint64(p)
		seen |= v | (v&(127*ones) + uint64(128-n)*ones)
	}
	return seen&(128*ones) != 0 || len(p) > 0 && maxByte(p) >= n
}

func errPosition(p uint32, dst []byte) error {
	return fmt.Errorf("codec: %w: position %d in %d bytes", ErrCorrupt, p, len(dst))
}

// ApplyResidual adds centres[sym[i]] to element pos[i] of dst, which holds the base: in
// float32 (float64 for F64), rounded to nearest even to d. Other elements keep their bits.
func ApplyResidual(dst []byte, d tensor.DType, pos []uint32, sym []uint8, centres []float32) error {
	t, err := newTable(d, pos, sym, centres)
	if err != nil {
		return err
	}
	le := binary.LittleEndian
	sym = sym[:len(pos)]
	switch d {
	case tensor.F32:
		for i, p := range pos {
			at := 4 * uint64(p)
			if at+4 > uint64(len(dst)) {
				return errPosition(p, dst)
			}
			e := dst[at : at+4 : at+4]
			le.PutUint32(e, math.Float32bits(math.Float32frombits(le.Uint32(e))+t[sym[i]]))
		}
	case tensor.BF16:
		for i, p := range pos {
			at := 2 * uint64(p)
			if at+2 > uint64(len(dst)) {
				return errPosition(p, dst)
			}
			e := dst[at : at+2 : at+2]
			le.PutUint16(e, toBF16(fromBF16(le.Uint16(e))+t[sym[i]]))
		}
	case tensor.F16:
		for i, p := range pos {
			at := 2 * uint64(p)
			if at+2 > uint64(len(dst)) {
				return errPosition(p, dst)
			}
			e := dst[at : at+2 : at+2]
			le.PutUint16(e, toF16(fromF16(le.Uint16(e))+t[sym[i]]))
		}
	case tensor.F64:
		for i, p := range pos {
			at := 8 * uint64(p)
			if at+8 > uint64(len(dst)) {
				return errPosition(p, dst)
			}
			e := dst[at : at+8 : at+8]
			le.PutUint64(e, math.Float64bits(math.Float64frombits(le.Uint64(e))+float64(t[sym[i]])))
		}
	}
	return nil
}

// ApplyCodebook sets element pos[i] of dst to centres[sym[i]] rounded to d. dst is zeroed by the caller.
func ApplyCodebook(dst []byte, d tensor.DType, pos []uint32, sym []uint8, centres []float32) error {
	t, err := newTable(d, pos, sym, centres)
	if err != nil {
		return err
	}
	var bits [maxCentres]uint64
	for i, c := range t {
		switch d {
		case tensor.F32:
			bits[i] = uint64(math.Float32bits(c))
		case tensor.BF16:
			bits[i] = uint64(toBF16(c))
		case tensor.F16:
			bits[i] = uint64(toF16(c))
		case tensor.F64:
			bits[i] = math.Float64bits(float64(c))
		}
	}
	sym = sym[:len(pos)]
	w := uint64(d.Width())
	for i, p := range pos {
		at := w * uint64(p)
		if at+w > uint64(len(dst)) {
			return errPosition(p, dst)
		}
		e, c := dst[at:at+w:at+w], bits[sym[i]]
		switch w {
		case 2:
			binary.LittleEndian.PutUint16(e, uint16(c))
		case 4:
			binary.LittleEndian.PutUint32(e, uint32(c))
		case 8:
			binary.LittleEndian.PutUint64(e, c)
		}
	}
	return nil
}
