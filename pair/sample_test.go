package pair

import (
	"context"
	"math"
	"testing"
)

func TestPlan(t *testing.T) {
	for _, dims := range [][]int64{nil, {0}, {1}, {7}, {100}, {1 << 20}, {1 << 40}, {1, 1 << 30}, {3, 5}, {256, 256}, {257, 255}, {50257, 768}, {768, 50257},
		{4096, 4096}, {28672, 8192}, {2, 1 << 20}, {64, 3, 7, 7}, {512, 512, 3, 3}, {128, 2048, 768}, {1 << 62, 1}, {1, 1 << 62}, {1 << 31, 1 << 31}, {1 << 62, 4}, {-1, 4}} {
		for _, limit := range []int64{1024, 4382, 16 << 10, 64 << 10} {
			p := newPlan(dims, limit)
			n, ok := int64(1), true
			for _, d := range dims {
				ok = ok && d >= 0 && (d == 0 || n <= math.MaxInt64/max(1, d))
				n *= d
			}
			if !ok {
				n = 0
			}
			at, sum := int64(0), int64(0)
			for _, s := range p.spans {
				if s.n <= 0 || s.at < at || s.at > n-s.n {
					t.Errorf("%v, at most %d: %d elements at %d", dims, limit, s.n, s.at)
				}
				at = s.at + s.n
				sum += s.n
			}
			if sum != int64(p.elems()) || sum > limit || sum < min(n, limit)/20 {
				t.Errorf("%v, at most %d: %d elements in spans, %d rows of %d", dims, limit, sum, p.rows, p.width)
			}
		}
	}
}

// What a sample holds does not depend on what rows and columns have in common.
func TestCentre(t *testing.T) {
	p := newPlan([]int64{40, 50}, sampleElems)
	read := func(shift float64) sample {
		s, err := p.residual(context.Background(), reader(func(i uint64) float64 {
			return value(1, i) + shift*value(2, i/50) + shift*value(3, i%50)
		}))
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	a, b := read(0), read(3)
	if c := correlation(a, b); c < 0.9999 {
		t.Errorf("correlation %f", c)
	}
	if got, want := a.n, 2000*(1-1./40)*(1-1./50); math.Abs(got-want) > 1e-6 {
		t.Errorf("%f independent values, not %f", got, want)
	}
}

// Elements without a gradient are left out, and nothing that is in a file makes a NaN.
func TestDirection(t *testing.T) {
	p := newPlan([]int64{8, 8}, sampleElems)
	odd := map[uint64][2]float64{0: {0, 1}, 1: {1, 0}, 2: {math.NaN(), 1}, 3: {1, math.NaN()}, 4: {math.Inf(1), 1}, 5: {1, math.Inf(1)}, 6: {1, -1}, 7: {1e30, 1e-40}}
	part := func(k int) Reader {
		return reader(func(i uint64) float64 {
			if x, ok := odd[i]; ok {
				return x[k]
			}
			return value(uint64(k), i)*float64(1-k) + float64(k)
		})
	}
	s, err := p.direction(context.Background(), part(0), part(1))
	if err != nil {
		t.Fatal(err)
	}
	sum := 0.0
	for i, x := range s.v {
		if i < 7 && x != 0 {
			t.Errorf("element %d: %f", i, x)
		}
		sum += float64(x) * float64(x)
	}
	if math.Abs(sum-1) > 1e-5 || s.v[7] == 0 || s.n > 57 {
		t.Errorf("length %f, %f independent values", sum, s.n)
	}
	for _, same := range []float64{0, 0.1, 1e-30, 1e30} {
		if s, _ := p.residual(context.Background(), reader(func(uint64) float64 { return same })); s.v != nil {
			t.Errorf("equal changes of %g are compared", same)
		}
	}
}
