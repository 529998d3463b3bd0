package tensor

import "testing"

// The numbers are on disk in every archive: this table is docs/FORMAT.md section 2.4.
var formatNumbers = []string{1: "BOOL", 2: "U8", 3: "I8", 4: "F8_E5M2", 5: "F8_E4M3", 6: "F8_E8M0", 7: "F8_E4M3FNUZ", 8: "F8_E5M2FNUZ",
	9: "I16", 10: "U16", 11: "F16", 12: "BF16", 13: "I32", 14: "U32", 15: "F32", 16: "I64", 17: "U64", 18: "F64", 19: "C64",
	20: "F4", 21: "F6_E2M3", 22: "F6_E3M2"}

func TestDTypeNumbers(t *testing.T) {
	for n, name := range formatNumbers {
		if n == 0 {
			continue
		}
		d, ok := ParseDType(name)
		if !ok || d != DType(n) || d.String() != name || !d.Valid() {
			t.Errorf("%s: %d, %v", name, d, ok)
		}
	}
	for _, d := range []DType{0, DType(len(formatNumbers)), 255} {
		if d.Valid() || d.Bits() != 0 || d.String() != "invalid" || d.Lossy() {
			t.Errorf("dtype %d passes for %s", uint8(d), d)
		}
	}
	for _, name := range []string{"", "invalid", "f32", "F32 ", "F128"} {
		if d, ok := ParseDType(name); ok || d != Invalid {
			t.Errorf("%q passes for %s", name, d)
		}
	}
}

func TestDTypeSizes(t *testing.T) {
	for _, c := range []struct {
		d           DType
		bits, width int
		lossy       bool
	}{
		{Bool, 8, 1, false}, {U8, 8, 1, false}, {I8, 8, 1, false}, {F8E4M3, 8, 1, false}, {F8E8M0, 8, 1, false},
		{F16, 16, 2, true}, {BF16, 16, 2, true}, {I16, 16, 2, false}, {U16, 16, 2, false},
		{F32, 32, 4, true}, {I32, 32, 4, false}, {U32, 32, 4, false},
		{F64, 64, 8, true}, {I64, 64, 8, false}, {U64, 64, 8, false}, {C64, 64, 8, false},
		{F4, 4, 1, false}, {F6E2M3, 6, 1, false}, {F6E3M2, 6, 1, false}, {Invalid, 0, 1, false},
	} {
		if c.d.Bits() != c.bits || c.d.Width() != c.width || c.d.Lossy() != c.lossy {
			t.Errorf("%s: %d bits, width %d, lossy %v", c.d, c.d.Bits(), c.d.Width(), c.d.Lossy())
		}
	}
}
