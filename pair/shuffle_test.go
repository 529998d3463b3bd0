package pair

import (
	"fmt"
	"math/rand"
	"slices"
	"strings"
	"testing"
)

// find gives the place of the parameter of a weight.
func (s state) at(t *testing.T, name string) *Param {
	for _, g := range s.groups {
		for i := range g {
			if s.truth[g[i].Key] == name {
				return &g[i]
			}
		}
	}
	t.Fatal("no parameter of " + name)
	return nil
}

// swap exchanges all parameters whose names have one word for those with another.
func (s state) swap(t *testing.T, one, other string) {
	n := 0
	for _, w := range s.weights {
		if strings.Contains(w.Name, one) {
			a, b := s.at(t, w.Name), s.at(t, strings.Replace(w.Name, one, other, 1))
			*a, *b = *b, *a
			n++
		}
	}
	if n == 0 {
		t.Fatal("no weights of " + one)
	}
}

func (s state) clone() state {
	groups := s.groups
	s.groups = nil
	for _, g := range groups {
		s.groups = append(s.groups, slices.Clone(g))
	}
	return s
}

func shuffle(r *rand.Rand, g Group) { r.Shuffle(len(g), func(i, j int) { g[i], g[j] = g[j], g[i] }) }

// Whatever is done to the order of the parameters, no pair is wrong.
func TestShuffles(t *testing.T) {
	for _, c := range []struct {
		name  string
		state func(testing.TB) state
		one   []string // exchanged for
		other []string
		least int // that are found nevertheless
	}{
		{"qkv", func(t testing.TB) state { return qkv(t, "300", "340") }, []string{"1.self_attn.q_proj", "layers.0.", "0.mlp.gate", "0.self_attn.k"}, []string{"1.self_attn.o_proj", "layers.2.", "1.mlp.up", "2.self_attn.v"}, 22},
		{"dev", func(t testing.TB) state { return dev(t, "500", "600") }, []string{"layers.1.", "gpt_neox.embed_in", "1.attention.dense"}, []string{"layers.4.", "embed_out", "2.attention.dense"}, 22},
	} {
		var whole state
		if !t.Run(c.name, func(t *testing.T) { whole = c.state(t) }) || whole.groups == nil {
			continue
		}
		for k := range c.one {
			t.Run(c.name+" "+c.one[k], func(t *testing.T) {
				s := whole.clone()
				s.swap(t, c.one[k], c.other[k])
				if n := s.check(t, s.find(t, nil), true); n < c.least {
					t.Errorf("%d right", n)
				}
			})
		}
		for seed := range int64(4) {
			t.Run(fmt.Sprint(c.name, " in groups ", seed), func(t *testing.T) {
				s, r := whole.clone(), rand.New(rand.NewSource(seed))
				for _, g := range s.groups {
					shuffle(r, g)
				}
				if n := s.check(t, s.find(t, nil), true); n < c.least {
					t.Errorf("%d right", n)
				}
			})
			t.Run(fmt.Sprint(c.name, " across groups ", seed), func(t *testing.T) {
				s, r := whole.clone(), rand.New(rand.NewSource(seed))
				all := slices.Concat(s.groups...)
				shuffle(r, all)
				copy(s.groups[0], all)
				copy(s.groups[1], all[len(s.groups[0]):])
				if n := s.check(t, s.find(t, nil), true); n < c.least {
					t.Errorf("%d right", n)
				}
			})
			t.Run(fmt.Sprint(c.name, " vectors ", seed), func(t *testing.T) {
				s, r := whole.clone(), rand.New(rand.NewSource(seed))
				shuffle(r, s.groups[1])
				if n := s.check(t, s.find(t, nil), true); n != c.least {
					t.Errorf("%d right, not %d matrices", n, c.least)
				}
			})
		}
	}
}

// The order of the matrices tells nothing of norms that are exchanged among themselves,
// but of the size they have in real models their own data do.
func TestExchangedNorms(t *testing.T) {
	s := newMade(0.15, wide).state(2)
	s.check(t, s.find(t, nil), false)
	for _, c := range [][2]string{{"layers.1.input", "layers.3.input"}, {"2.input", "2.post_attention"}, {"0.post_attention_layernorm", "norm"}} {
		s := newMade(0.15, wide).state(2)
		if c[1] == "norm" {
			a, b := s.at(t, "model.layers.0.post_attention_layernorm.weight"), s.at(t, "model.norm.weight")
			*a, *b = *b, *a
		} else {
			s.swap(t, c[0], c[1])
		}
		if n := s.check(t, s.find(t, nil), true); n != len(s.weights)-2 {
			t.Errorf("%v exchanged: %d right", c, n)
		}
	}
}

const wide = `
	model.embed_tokens.weight 40x2048
	model.layers.<4>.self_attn.q_proj.weight 96x2048
	model.layers.<4>.self_attn.o_proj.weight 2048x96
	model.layers.<4>.input_layernorm.weight 2048
	model.layers.<4>.post_attention_layernorm.weight 2048
	model.norm.weight 2048`
