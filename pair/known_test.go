package pair

import (
	"context"
	"errors"
	"maps"
	"reflect"
	"runtime"
	"testing"
)

// What was found for one checkpoint is confirmed for the next by a part of the reads.
func TestRemembered(t *testing.T) {
	first, next := newMade(0.15, gpt2).state(2), newMade(0.12, gpt2).state(2)
	known := first.find(t, nil).Weights
	reads.Store(0)
	next.check(t, next.find(t, nil), false)
	searched := reads.Swap(0)
	r := next.find(t, known)
	next.check(t, r, false)
	if n := reads.Load(); n > searched*2/3 || !maps.Equal(r.Weights, known) {
		t.Errorf("%d elements read to confirm %d pairs, %d to find them", n, len(r.Weights), searched)
	}
}

// The next checkpoint of a real run.
func TestRememberedChain(t *testing.T) {
	known := qkv(t, "300", "340").find(t, nil).Weights
	s := qkv(t, "340", "400")
	s.check(t, s.find(t, known), false)
}

func TestWrongMemory(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(known map[string]string)
	}{
		{"siblings", func(k map[string]string) { k["1"], k["2"] = k["2"], k["1"] }},
		{"layers", func(k map[string]string) {
			for i := range 7 {
				a, b := string(rune('1'+i)), []string{"8", "9", "10", "11", "12", "13", "14"}[i]
				k[a], k[b] = k[b], k[a]
			}
		}},
		{"shapes", func(k map[string]string) { k["0"], k["1"] = k["1"], k["0"] }},
		{"names that are gone", func(k map[string]string) { k["3"] = "model.other" }},
		{"one weight twice", func(k map[string]string) { k["3"] = k["4"] }},
		{"keys that are gone", func(k map[string]string) { k["99"] = "model.norm.weight" }},
		{"nothing of vectors", func(k map[string]string) {
			maps.DeleteFunc(k, func(key, _ string) bool { return len(key) == 2 && key > "21" })
		}},
	} {
		s := qkv(t, "300", "340")
		known := maps.Clone(s.truth)
		c.change(known)
		if n := s.check(t, s.find(t, known), false); n != 29 {
			t.Errorf("%s: %d right", c.name, n)
		}
	}
}

// Without a base there is nothing to verify: what was found before stands by its shapes.
func TestMemoryWithoutBase(t *testing.T) {
	s := qkv(t, "", "340")
	if n := s.check(t, s.find(t, nil), true); n != 1 {
		t.Errorf("%d of an unverified state right: only the embedding has a shape of its own", n)
	}
	s.check(t, s.find(t, s.truth), false)
}

func TestDeterminism(t *testing.T) {
	s := qkv(t, "340", "400")
	want := s.find(t, nil)
	for n := range 4 {
		old := runtime.GOMAXPROCS(n + 1)
		got := s.find(t, nil)
		runtime.GOMAXPROCS(old)
		if !reflect.DeepEqual(got, want) {
			t.Errorf("on %d cores: %v, not %v", n+1, got, want)
		}
	}
}

func TestReadError(t *testing.T) {
	broken := errors.New("broken")
	bad := func(context.Context, []float32, int64) error { return broken }
	for i := range 3 {
		s := qkv(t, "300", "340")
		switch i {
		case 0:
			s.weights[3].Residual = bad
		case 1:
			s.groups[0][5].ExpAvg = bad
		case 2:
			s.groups[1][2].ExpAvgSq = bad
		}
		for _, known := range []map[string]string{nil, s.truth} {
			r, err := Find(context.Background(), s.weights, s.groups, known)
			if known != nil && i == 2 { // not read then
				continue
			}
			if !errors.Is(err, broken) || r != nil {
				t.Errorf("reader %d: %v, %v", i, r, err)
			}
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	s := qkv(t, "300", "340")
	if _, err := Find(ctx, s.weights, s.groups, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}
