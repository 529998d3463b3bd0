package codec

import (
	"encoding/binary"
	"math/bits"

	"excpfs/tensor"
)

// kind is what exact coding knows of an element.
type kind struct {
	width int // bytes: 1, 2, 4, 8
	float bool
}

// kindOf treats as bytes what is not a whole number of elements; complex numbers are pairs of floats.
func kindOf(d tensor.DType, n int) kind {
	k := kind{d.Width(), false}
	switch d {
	case tensor.F16, tensor.BF16, tensor.F32, tensor.F64:
		k.float = true
	case tensor.C64:
		k = kind{4, true}
	}
	if n%k.width != 0 {
		return kind{1, false}
	}
	return k
}

func load(b []byte, w int) uint64 {
	switch w {
	case 1:
		return uint64(b[0])
	case 2:
		return uint64(binary.LittleEndian.Uint16(b))
	case 4:
		return uint64(binary.LittleEndian.Uint32(b))
	}
	return binary.LittleEndian.Uint64(b)
}

func store(b []byte, w int, v uint64) {
	switch w {
	case 1:
		b[0] = byte(v)
	case 2:
		binary.LittleEndian.PutUint16(b, uint16(v))
	case 4:
		binary.LittleEndian.PutUint32(b, uint32(v))
	default:
		binary.LittleEndian.PutUint64(b, v)
	}
}

// ordered16 and its like map the bits of a float so that they compare as the float does.
func ordered16(v uint16) uint16   { return v ^ (uint16(int16(v)>>15) | 1<<15) }
func unordered16(v uint16) uint16 { return v ^ (^uint16(int16(v)>>15) | 1<<15) }
func ordered32(v uint32) uint32   { return v ^ (uint32(int32(v)>>31) | 1<<31) }
func unordered32(v uint32) uint32 { return v ^ (^uint32(int32(v)>>31) | 1<<31) }
func ordered64(v uint64) uint64   { return v ^ (uint64(int64(v)>>63) | 1<<63) }
func unordered64(v uint64) uint64 { return v ^ (^uint64(int64(v)>>63) | 1<<63) }

func ordered(v uint64, k kind) uint64 {
	switch {
	case !k.float:
		return v
	case k.width == 2:
		return uint64(ordered16(uint16(v)))
	case k.width == 4:
		return uint64(ordered32(uint32(v)))
	}
	return ordered64(v)
}

func unordered(v uint64, k kind) uint64 {
	switch {
	case !k.float:
		return v
	case k.width == 2:
		return uint64(unordered16(uint16(v)))
	case k.width == 4:
		return uint64(unordered32(uint32(v)))
	}
	return unordered64(v)
}

// zigzag folds the sign of a w-byte integer into its lowest bit.
func zigzag(v uint64, w int) uint64 {
	s := uint(64 - 8*w)
	x := int64(v<<s) >> s
	return uint64(x<<1 ^ x>>63)
}

func unzigzag(v uint64) uint64 { return v>>1 ^ -(v & 1) }

// differences fills d with the zigzag differences of the ordered bits of src and base.
func differences(d, src, base []byte, k kind) {
	le := binary.LittleEndian
	switch {
	case k.width == 4 && k.float:
		for i := 0; i+4 <= len(src); i += 4 {
			v := int32(ordered32(le.Uint32(src[i:i+4])) - ordered32(le.Uint32(base[i:i+4])))
			le.PutUint32(d[i:i+4], uint32(v<<1^v>>31))
		}
	case k.width == 2 && k.float:
		for i := 0; i+2 <= len(src); i += 2 {
			v := int16(ordered16(le.Uint16(src[i:i+2])) - ordered16(le.Uint16(base[i:i+2])))
			le.PutUint16(d[i:i+2], uint16(v<<1^v>>15))
		}
	default:
		for i := 0; i < len(src); i += k.width {
			v := ordered(load(src[i:], k.width), k) - ordered(load(base[i:], k.width), k)
			store(d[i:], k.width, zigzag(v, k.width))
		}
	}
}

// addDifferences is the inverse; dst may be base.
func addDifferences(dst, base, d []byte, k kind) {
	for i := 0; i < len(dst); i += k.width {
		v := ordered(load(base[i:], k.width), k) + unzigzag(load(d[i:], k.width))
		store(dst[i:], k.width, unordered(v, k))
	}
}

// split parts elements into byte planes, the lowest bytes first. Floats are rotated left by
// one bit before, so that the highest plane is exponent alone.
func split(planes, src []byte, k kind) {
	n := len(src) / k.width
	turn := 0
	if k.float {
		turn = 1
	}
	switch k.width {
	case 1:
		copy(planes, src)
	case 2:
		p0, p1 := planes[:n], planes[n:2*n]
		for i := range p0 {
			v := bits.RotateLeft16(binary.LittleEndian.Uint16(src[2*i:]), turn)
			p0[i], p1[i] = byte(v), byte(v>>8)
		}
	case 4:
		p0, p1, p2, p3 := planes[:n], planes[n:2*n], planes[2*n:3*n], planes[3*n:4*n]
		for i := range p0 {
			v := bits.RotateLeft32(binary.LittleEndian.Uint32(src[4*i:]), turn)
			p0[i], p1[i], p2[i], p3[i] = byte(v), byte(v>>8), byte(v>>16), byte(v>>24)
		}
	case 8:
		for i := range n {
			v := bits.RotateLeft64(binary.LittleEndian.Uint64(src[8*i:]), turn)
			for p := range 8 {
				planes[p*n+i] = byte(v >> (8 * p))
			}
		}
	}
}

// merge is the inverse of split.
func merge(dst, planes []byte, k kind) {
	mergeFrom(mergeFast(dst, planes, k), dst, planes, k)
}

// mergeFrom is merge from element i on.
func mergeFrom(i int, dst, planes []byte, k kind) {
	n := len(dst) / k.width
	turn := 0
	if k.float {
		turn = -1
	}
	switch k.width {
	case 1:
		copy(dst, planes)
	case 2:
		p0, p1 := planes[:n], planes[n:2*n]
		for ; i < n; i++ {
			v := uint16(p0[i]) | uint16(p1[i])<<8
			binary.LittleEndian.PutUint16(dst[2*i:2*i+2], bits.RotateLeft16(v, turn))
		}
	case 4:
		p0, p1, p2, p3 := planes[:n], planes[n:2*n], planes[2*n:3*n], planes[3*n:4*n]
		for ; i < n; i++ {
			v := uint32(p0[i]) | uint32(p1[i])<<8 | uint32(p2[i])<<16 | uint32(p3[i])<<24
			binary.LittleEndian.PutUint32(dst[4*i:4*i+4], bits.RotateLeft32(v, turn))
		}
	case 8:
		for ; i < n; i++ {
			store(dst[8*i:], 8, bits.RotateLeft64(gather(planes, n, i, 8), turn))
		}
	}
}

// gather is element i of n, of w planes.
func gather(planes []byte, n, i, w int) (v uint64) {
	for p := range w {
		v |= uint64(planes[p*n+i]) << (8 * p)
	}
	return v
}

// mergeDifferences adds differences in planes to base; dst may be base.
func mergeDifferences(dst, base, planes []byte, k kind) {
	sumFrom(sumFast(dst, base, planes, k), dst, base, planes, k)
}

// sumFrom is mergeDifferences from element i on.
func sumFrom(i int, dst, base, planes []byte, k kind) {
	n := len(dst) / k.width
	switch {
	case k.float && k.width == 2:
		p0, p1 := planes[:n], planes[n:2*n]
		for ; i < n; i++ {
			d := uint16(p0[i]) | uint16(p1[i])<<8
			v := ordered16(binary.LittleEndian.Uint16(base[2*i:2*i+2])) + (d>>1 ^ -(d & 1))
			binary.LittleEndian.PutUint16(dst[2*i:2*i+2], unordered16(v))
		}
	case k.float && k.width == 4:
		p0, p1, p2, p3 := planes[:n], planes[n:2*n], planes[2*n:3*n], planes[3*n:4*n]
		for ; i < n; i++ {
			d := uint32(p0[i]) | uint32(p1[i])<<8 | uint32(p2[i])<<16 | uint32(p3[i])<<24
			v := ordered32(binary.LittleEndian.Uint32(base[4*i:4*i+4])) + (d>>1 ^ -(d & 1))
			binary.LittleEndian.PutUint32(dst[4*i:4*i+4], unordered32(v))
		}
	default:
		for ; i < n; i++ {
			at := i * k.width
			v := ordered(load(base[at:], k.width), k) + unzigzag(gather(planes, n, i, k.width))
			store(dst[at:], k.width, unordered(v, k))
		}
	}
}
