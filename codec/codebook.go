package codec

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/bits"
)

// maxCentres is the most entries of a codebook: what a symbol can name.
const maxCentres = 256

// AppendCodebook stores centres as float32, less the low bytes that are zero in all of
// them; ParseCodebook checks count and order.
func AppendCodebook(dst []byte, centres []float32) []byte {
	all := uint32(0)
	for _, c := range centres {
		all |= math.Float32bits(c)
	}
	drop := min(bits.TrailingZeros32(all)/8, 3)
	dst = binary.AppendUvarint(dst, uint64(len(centres)))
	dst = append(dst, byte(drop))
	var e [4]byte
	for _, c := range centres {
		binary.LittleEndian.PutUint32(e[:], math.Float32bits(c))
		dst = append(dst, e[drop:]...)
	}
	return dst
}

// ParseCodebook is the inverse of AppendCodebook.
func ParseCodebook(src []byte) ([]float32, []byte, error) {
	n, k := binary.Uvarint(src)
	if k <= 0 || n > maxCentres || len(src) == k || src[k] > 3 {
		return nil, nil, fmt.Errorf("codebook: %w: count", ErrCorrupt)
	}
	drop, src := int(src[k]), src[k+1:]
	if len(src) < int(n)*(4-drop) {
		return nil, nil, fmt.Errorf("codebook: %w: ends early", ErrCorrupt)
	}
	centres := make([]float32, n)
	var e [4]byte
	for i := range centres {
		src = src[copy(e[drop:], src):]
		centres[i] = math.Float32frombits(binary.LittleEndian.Uint32(e[:]))
		if c := centres[i]; c != c || i > 0 && !(c > centres[i-1]) {
			return nil, nil, fmt.Errorf("codebook: %w: centres do not ascend", ErrCorrupt)
		}
	}
	return centres, src, nil
}
