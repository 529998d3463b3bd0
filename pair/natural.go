package pair

import (
	"cmp"
	"strings"
)

// natural compares names component by component, numbers as numbers: layers.2.x
// comes before layers.10.x.
func natural(a, b string) int {
	for a != "" && b != "" {
		p, pRest, _ := strings.Cut(a, ".")
		q, qRest, _ := strings.Cut(b, ".")
		if c := component(p, q); c != 0 {
			return c
		}
		a, b = pRest, qRest
	}
	return cmp.Compare(len(a), len(b))
}

func component(a, b string) int {
	if number(a) && number(b) {
		a, b = strings.TrimLeft(a, "0"), strings.TrimLeft(b, "0")
		return cmp.Or(cmp.Compare(len(a), len(b)), cmp.Compare(a, b))
	}
	return cmp.Compare(a, b)
}

func number(s string) bool { return s != "" && strings.Trim(s, "0123456789") == "" }

// template is a name with its numbers left out: the same for all layers.
func template(name string) string {
	parts := strings.Split(name, ".")
	for i, p := range parts {
		if number(p) {
			parts[i] = "*"
		}
	}
	return strings.Join(parts, ".")
}

// instance is the name up to its last number: the layer that it is in.
func instance(name string) string {
	parts := strings.Split(name, ".")
	for i := len(parts); i > 0; i-- {
		if number(parts[i-1]) {
			return strings.Join(parts[:i], ".")
		}
	}
	return ""
}

// parent is the name without its last component.
func parent(name string) string {
	return name[:max(0, strings.LastIndexByte(name, '.'))]
}
