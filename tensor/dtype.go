package tensor

// DType is the element type of a tensor. The numbers are part of the archive
// format (docs/FORMAT.md) and never change their meaning.
type DType uint8

// The element types of the safetensors format.
const (
	Invalid DType = iota
	Bool
	U8
	I8
	F8E5M2
	F8E4M3
	F8E8M0
	F8E4M3FNUZ
	F8E5M2FNUZ
	I16
	U16
	F16
	BF16
	I32
	U32
	F32
	I64
	U64
	F64
	C64
	F4
	F6E2M3
	F6E3M2
	maxDType
)

var dtypes = [maxDType]struct {
	name string
	bits int
}{
	Invalid:    {"invalid", 0},
	Bool:       {"BOOL", 8},
	U8:         {"U8", 8},
	I8:         {"I8", 8},
	F8E5M2:     {"F8_E5M2", 8},
	F8E4M3:     {"F8_E4M3", 8},
	F8E8M0:     {"F8_E8M0", 8},
	F8E4M3FNUZ: {"F8_E4M3FNUZ", 8},
	F8E5M2FNUZ: {"F8_E5M2FNUZ", 8},
	I16:        {"I16", 16},
	U16:        {"U16", 16},
	F16:        {"F16", 16},
	BF16:       {"BF16", 16},
	I32:        {"I32", 32},
	U32:        {"U32", 32},
	F32:        {"F32", 32},
	I64:        {"I64", 64},
	U64:        {"U64", 64},
	F64:        {"F64", 64},
	C64:        {"C64", 64},
	F4:         {"F4", 4},
	F6E2M3:     {"F6_E2M3", 6},
	F6E3M2:     {"F6_E3M2", 6},
}

// String returns the name the safetensors format gives the type.
func (d DType) String() string {
	if !d.Valid() {
		return dtypes[Invalid].name
	}
	return dtypes[d].name
}

// Valid reports whether d is one of the types above.
func (d DType) Valid() bool { return d > Invalid && d < maxDType }

// Bits is the size of one element in bits; 0 for an invalid type.
func (d DType) Bits() int {
	if !d.Valid() {
		return 0
	}
	return dtypes[d].bits
}

// Width is the size of one element in bytes. Types of less than a byte are
// handled as bytes and have width 1.
func (d DType) Width() int { return max(1, d.Bits()/8) }

// Lossy reports whether a lossy profile may quantize tensors of this type:
// the floating-point types that float32 arithmetic covers. All others are
// always stored exactly.
func (d DType) Lossy() bool { return d == F64 || d == F32 || d == BF16 || d == F16 }

// ParseDType finds a type by its safetensors name.
func ParseDType(name string) (DType, bool) {
	for d := Invalid + 1; d < maxDType; d++ {
		if dtypes[d].name == name {
			return d, true
		}
	}
	return Invalid, false
}
