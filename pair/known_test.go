package pair

import (
	"maps"
	"testing"
)

func TestNeeded(t *testing.T) {
	for _, c := range []struct {
		z    []float64
		want float64
	}{
		{nil, holds},
		{[]float64{9, 12}, holds},
		{[]float64{3.9}, holds}, // one alone is not enough
		{[]float64{3, 3, 20}, 0},
		{[]float64{2, 2, 2, 2, -1, 2}, holds},
		{[]float64{2, 2, 2, 2, -1, 2, 2, 2}, 0},
		{[]float64{1, -1, 1, -1, 1}, holds},
	} {
		if got := needed(c.z); got != c.want {
			t.Errorf("%v: %v, want %v", c.z, got, c.want)
		}
	}
}

// Vectors that are remembered wrongly are found out by what they say together.
func TestKnownVectors(t *testing.T) {
	for _, s := range []state{qkv(t, "300", "340"), qkv(t, "340", "400")} {
		known := maps.Clone(s.truth)
		var keys []string
		for _, p := range s.groups[1] {
			keys = append(keys, p.Key)
		}
		for i, key := range keys {
			known[key] = s.truth[keys[(i+3)%len(keys)]]
		}
		s.check(t, s.find(t, known), true)
	}
}
