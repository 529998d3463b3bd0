package seal

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"excpfs/archive"
	"excpfs/encode"
	"excpfs/store"
)

// cand makes a candidate; id from the path, "!" in front of a retained one.
func cand(p string) store.Candidate {
	c := store.Candidate{Path: p}
	copy(c.Summary.ID[:], p)
	if p[0] == '!' {
		c.Path, c.Retained = "", true
	}
	return c
}

func TestRank(t *testing.T) {
	for _, tt := range []struct {
		name, path string
		in, want   []string
		previous   int
	}{
		{"nearest by number", "run/checkpoint-600/m", []string{"run/checkpoint-900/m", "run/checkpoint-700/m", "run/checkpoint-500/m", "run/checkpoint-100/m"},
			[]string{"run/checkpoint-500/m", "run/checkpoint-700/m", "run/checkpoint-900/m", "run/checkpoint-100/m"}, 0},
		{"newest without numbers", "run/b/m", []string{"run/z/m", "run/a/m"}, []string{"run/z/m", "run/a/m"}, 0},
		{"previous content first", "run/last.ckpt/m", []string{"!1", "run/x/m", "!2"}, []string{"!1", "run/x/m", "!2"}, 2},
		{"a few of each", "r/c-6/m", []string{"!1", "!2", "!3", "r/c-1/m", "r/c-2/m", "r/c-3/m", "r/c-4/m", "r/c-5/m", "q/m"},
			[]string{"!1", "!2", "r/c-5/m", "r/c-4/m", "r/c-3/m", "r/c-2/m"}, 2},
		{"others after siblings", "r/c-6/m", []string{"r/c-1/m", "r/c-2/m", "r/c-3/m", "r/c-4/m", "r/c-5/m", "q/1/m", "q/2/m", "q/3/m"},
			[]string{"r/c-5/m", "r/c-4/m", "r/c-3/m", "r/c-2/m", "q/1/m", "q/2/m"}, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var in []store.Candidate
			for _, p := range tt.in {
				in = append(in, cand(p), cand(p)) // a copy has the same content
			}
			var got []string
			previous := 0
			for _, r := range rank(in, tt.path) {
				got = append(got, string(r.Summary.ID[:]))
				if r.previous {
					previous++
				}
			}
			var want []string
			for _, p := range tt.want {
				c := cand(p)
				want = append(want, string(c.Summary.ID[:]))
			}
			if !slices.Equal(got, want) || previous != tt.previous {
				t.Errorf("got %q, %d previous; want %q, %d", got, previous, want, tt.previous)
			}
		})
	}
}

func TestNumbered(t *testing.T) {
	for s, want := range map[string]string{
		"checkpoint-500": "checkpoint-|500|", "step_0100_ema": "step_|100|_ema", "7": "|7|", "last": "none", "": "none",
		"v2-99": "v2-|99|",
	} {
		got := "none"
		if n, ok := numbered(s); ok {
			got = fmt.Sprintf("%s|%v|%s", n.before, n.n, n.after)
		}
		if got != want {
			t.Errorf("numbered(%q) = %s, want %s", s, got, want)
		}
	}
}

func TestBetter(t *testing.T) {
	lossy := picker{profile: archive.Profile{Name: encode.ProfileExcp}}
	exact := picker{profile: archive.Profile{Name: encode.ProfileExact}, best: encode.Fit{ExactBits: 6}}
	after := func(p picker, f encode.Fit) picker { p.best, p.found = f, true; return p }
	for i, tt := range []struct {
		p    picker
		f    encode.Fit
		want bool
	}{
		{lossy, encode.Fit{RMS: 0.3}, true},
		{lossy, encode.Fit{RMS: 0.31}, false},
		{lossy, encode.Fit{RMS: 1.4, Quantized: true}, false},
		{lossy, encode.Fit{RMS: math.NaN()}, false},
		{after(lossy, encode.Fit{RMS: 0.1}), encode.Fit{RMS: 0.05, ExactBits: 8}, true},
		{after(lossy, encode.Fit{RMS: 0.1}), encode.Fit{RMS: 0.1}, false},
		{after(lossy, encode.Fit{RMS: 0.1}), encode.Fit{RMS: 0.2, Quantized: true}, true},
		{after(lossy, encode.Fit{RMS: 0.1, Quantized: true}), encode.Fit{RMS: 0.01}, false},
		{exact, encode.Fit{ExactBits: 5.9, RMS: 2}, true},
		{exact, encode.Fit{ExactBits: 5.99}, false},
		{after(exact, encode.Fit{ExactBits: 5}), encode.Fit{ExactBits: 4.99}, true},
		{after(exact, encode.Fit{ExactBits: 5}), encode.Fit{ExactBits: 5}, false},
	} {
		if got := tt.p.better(tt.f); got != tt.want {
			t.Errorf("%d: better(%+v) after %+v = %v", i, tt.f, tt.p.best, got)
		}
	}
}
