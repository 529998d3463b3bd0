package codec

import "math"

// fromBF16 and fromF16 are exact; toBF16 and toF16 round to nearest even and keep NaN a NaN.
func fromBF16(b uint16) float32 { return math.Float32frombits(uint32(b) << 16) }

func toBF16(f float32) uint16 {
	b := math.Float32bits(f)
	if b&0x7fffffff > 0x7f800000 {
		return uint16(b>>16) | 0x40
	}
	return uint16((b + 0x7fff + b>>16&1) >> 16)
}

func fromF16(h uint16) float32 {
	sign := uint32(h&0x8000) << 16
	exp, man := uint32(h>>10&31), uint32(h&0x3ff)
	switch {
	case exp == 31:
		return math.Float32frombits(sign | 0x7f800000 | man<<13)
	case exp > 0:
		return math.Float32frombits(sign | (exp+112)<<23 | man<<13)
	}
	f := float32(man) * (1.0 / (1 << 24)) // exact: subnormals are multiples of 2^-24
	return math.Float32frombits(sign | math.Float32bits(f))
}

func toF16(f float32) uint16 {
	b := math.Float32bits(f)
	sign := uint16(b >> 16 & 0x8000)
	b &= 0x7fffffff
	switch {
	case b > 0x7f800000:
		return sign | 0x7e00 | uint16(b>>13&0x3ff)
	case b >= 0x47800000: // 65536 and more
		return sign | 0x7c00
	case b >= 0x38800000: // normal; a carry out of the mantissa moves the exponent, up to infinity
		return sign | uint16((b-112<<23+0xfff+b>>13&1)>>13)
	case b < 0x33000000: // below half of the smallest
		return sign
	}
	shift := 126 - b>>23 // 14 to 24
	man := b&0x7fffff | 0x800000
	half := uint32(1) << (shift - 1)
	return sign | uint16((man+half-1+man>>shift&1)>>shift)
}
