package codec

import (
	"encoding/binary"
	"fmt"
	"math"

	"excpfs/tensor"
)

// table is a codebook that any symbol can index.
type table [maxCentres]float32

// newTable checks everything that the loops then take for granted.
func newTable(dst []byte, d tensor.DType, pos []uint32, sym []uint8, centres []float32) (*table, error) {
	if !d.Lossy() {
		return nil, fmt.Errorf("codec: %v is never quantized", d)
	}
	if len(pos) != len(sym) {
		return nil, fmt.Errorf("codec: %d symbols for %d positions", len(sym), len(pos))
	}
	if len(sym) > 0 && int(maxByte(sym)) >= len(centres) {
		return nil, fmt.Errorf("codec: %w: symbol %d of a codebook of %d", ErrCorrupt, maxByte(sym), len(centres))
	}
	last := uint32(0)
	for _, p := range pos {
		last = max(last, p)
	}
	if n := len(dst) / d.Width(); len(pos) > 0 && int64(last) >= int64(n) {
		return nil, fmt.Errorf("codec: %w: position %d of %d", ErrCorrupt, last, n)
	}
	var t table
	copy(t[:], centres)
	return &t, nil
}

// ApplyResidual adds centres[sym[i]] to element pos[i] of dst, which holds the base: in
// float32 (float64 for F64), rounded to nearest even to d. Other elements keep their bits.
func ApplyResidual(dst []byte, d tensor.DType, pos []uint32, sym []uint8, centres []float32) error {
	t, err := newTable(dst, d, pos, sym, centres)
	if err != nil {
		return err
	}
	le := binary.LittleEndian
	sym = sym[:len(pos)]
	switch d {
	case tensor.F32:
		for i, p := range pos {
			e := dst[4*uint64(p):]
			le.PutUint32(e, math.Float32bits(math.Float32frombits(le.Uint32(e))+t[sym[i]]))
		}
	case tensor.BF16:
		for i, p := range pos {
			e := dst[2*uint64(p):]
			le.PutUint16(e, toBF16(fromBF16(le.Uint16(e))+t[sym[i]]))
		}
	case tensor.F16:
		for i, p := range pos {
			e := dst[2*uint64(p):]
			le.PutUint16(e, toF16(fromF16(le.Uint16(e))+t[sym[i]]))
		}
	case tensor.F64:
		for i, p := range pos {
			e := dst[8*uint64(p):]
			le.PutUint64(e, math.Float64bits(math.Float64frombits(le.Uint64(e))+float64(t[sym[i]])))
		}
	}
	return nil
}

// ApplyCodebook sets element pos[i] of dst to centres[sym[i]] rounded to d. dst is zeroed by the caller.
func ApplyCodebook(dst []byte, d tensor.DType, pos []uint32, sym []uint8, centres []float32) error {
	t, err := newTable(dst, d, pos, sym, centres)
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
	switch d.Width() {
	case 2:
		for i, p := range pos {
			binary.LittleEndian.PutUint16(dst[2*uint64(p):], uint16(bits[sym[i]]))
		}
	case 4:
		for i, p := range pos {
			binary.LittleEndian.PutUint32(dst[4*uint64(p):], uint32(bits[sym[i]]))
		}
	case 8:
		for i, p := range pos {
			binary.LittleEndian.PutUint64(dst[8*uint64(p):], bits[sym[i]])
		}
	}
	return nil
}
