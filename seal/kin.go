package seal

import (
	"cmp"
	"path"
	"slices"
	"strings"
)

// kinFirst orders files that may hold the same weights by how likely they are those that a file
// of this name belongs to: those of its number (accelerate's model_1 and optimizer_1), then those that are no averages.
func kinFirst[T any](files []T, name string, nameOf func(T) string) []T {
	far := func(v T) (n int) {
		other := nameOf(v)
		if endNumber(other) != endNumber(name) {
			n += 2
		}
		if strings.Contains(strings.ToLower(other), "ema") {
			n++
		}
		return n
	}
	files = slices.Clone(files)
	slices.SortStableFunc(files, func(a, b T) int { return cmp.Compare(far(a), far(b)) })
	return files
}

// endNumber is the number that a name without its extension ends in, behind an underscore; "" without.
func endNumber(name string) string {
	stem := strings.TrimSuffix(name, path.Ext(name))
	if i := strings.LastIndexByte(stem, '_'); i >= 0 && digits(stem[i+1:]) == len(stem)-i-1 {
		return stem[i+1:]
	}
	return ""
}
