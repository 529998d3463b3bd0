package seal

import (
	"cmp"
	"slices"
	"testing"
)

func TestNatural(t *testing.T) {
	want := []string{"", "00", "1", "a", "a1", "a01", "a2", "a10", "a10b", "b", "checkpoint-500", "checkpoint-1000",
		"checkpoint-1000-final", "checkpoint-99999999999999999999999", "é"}
	for i, a := range want {
		for j, b := range want {
			if got := natural(a, b); cmp.Compare(got, 0) != cmp.Compare(i, j) {
				// a1 and a01 are the same number; any fixed order will do.
				if !slices.Contains([]string{"a1", "a01"}, a) || !slices.Contains([]string{"a1", "a01"}, b) {
					t.Errorf("natural(%q, %q) = %d", a, b, got)
				}
			}
			if natural(a, b) != -natural(b, a) {
				t.Errorf("natural(%q, %q) is not antisymmetric", a, b)
			}
		}
	}
}
