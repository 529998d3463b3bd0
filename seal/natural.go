package seal

import (
	"cmp"
	"strings"
)

// natural compares names so that numbers in them count as numbers:
// checkpoint-500 comes before checkpoint-1000.
func natural(a, b string) int {
	x, y := a, b
	for x != "" && y != "" {
		p, q := digits(x), digits(y)
		c := cmp.Compare(x[0], y[0])
		if p > 0 && q > 0 {
			c = compareNumbers(x[:p], y[:q])
		}
		if c != 0 {
			return c
		}
		x, y = x[max(1, p):], y[max(1, q):]
	}
	return cmp.Or(cmp.Compare(len(x), len(y)), cmp.Compare(a, b))
}

// compareNumbers compares runs of digits of any length.
func compareNumbers(a, b string) int {
	a, b = strings.TrimLeft(a, "0"), strings.TrimLeft(b, "0")
	return cmp.Or(cmp.Compare(len(a), len(b)), cmp.Compare(a, b))
}

// digits is the length of the run of digits that s begins with.
func digits(s string) int {
	n := 0
	for n < len(s) && '0' <= s[n] && s[n] <= '9' {
		n++
	}
	return n
}
