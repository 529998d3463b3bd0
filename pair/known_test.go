package pair

import "testing"

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
