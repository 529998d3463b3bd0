package pair

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const small = `
	model.embed_tokens.weight 300x64
	model.layers.<6>.self_attn.q_proj.weight 64x64
	model.layers.<6>.self_attn.k_proj.weight 64x64
	model.layers.<6>.self_attn.v_proj.weight 64x64
	model.layers.<6>.self_attn.o_proj.weight 64x64
	model.layers.<6>.mlp.gate_proj.weight 128x64
	model.layers.<6>.mlp.up_proj.weight 128x64
	model.layers.<6>.mlp.down_proj.weight 64x128
	model.layers.<6>.input_layernorm.weight 64
	model.layers.<6>.post_attention_layernorm.weight 64
	model.norm.weight 64
	lm_head.weight 300x64`

// without leaves parameters out of the optimizer, as those of frozen weights are.
func (s *state) without(re string) {
	for g := range s.groups {
		s.groups[g] = slices.DeleteFunc(s.groups[g], func(p Param) bool { return regexp.MustCompile(re).MatchString(s.truth[p.Key]) })
	}
}

// bare takes the moments of parameters, as of those that never had a gradient.
func (s *state) bare(re string) {
	for _, g := range s.groups {
		for i := range g {
			if regexp.MustCompile(re).MatchString(s.truth[g[i].Key]) {
				g[i] = Param{Key: g[i].Key}
			}
		}
	}
}

// lose leaves weights out of the file.
func (s *state) lose(re string) {
	s.weights = slices.DeleteFunc(s.weights, func(w Weight) bool { return regexp.MustCompile(re).MatchString(w.Name) })
}

// still makes weights that did not change, or have no base.
func (s *state) still(re string, r Reader) {
	for i := range s.weights {
		if regexp.MustCompile(re).MatchString(s.weights[i].Name) {
			s.weights[i].Residual = r
		}
	}
}

func TestUnequal(t *testing.T) {
	zero := reader(func(uint64) float64 { return 0 })
	for _, c := range []struct {
		name     string
		change   func(s *state)
		declined string // what is, and nothing else; of the others all are right
	}{
		{"whole", func(s *state) {}, "^$"},
		{"embeddings frozen", func(s *state) { s.without("embed_tokens|lm_head") }, "^$"},
		{"one of two embeddings frozen", func(s *state) { s.without("embed_tokens") }, "^$"},
		{"first layers frozen", func(s *state) { s.without(`layers\.[01]\.`) }, "^$"},
		{"all k frozen", func(s *state) { s.without("k_proj") }, "^$"},
		{"a k frozen", func(s *state) { s.without("3.self_attn.k_proj") }, "^$"},
		{"norms frozen", func(s *state) { s.without("norm") }, "^$"},
		{"a kind of norm frozen", func(s *state) { s.without("input_layernorm") }, "norm"},
		{"a matrix without gradient", func(s *state) { s.bare("2.self_attn.v_proj") }, "^$"},
		{"a norm without gradient", func(s *state) { s.bare("2.input_layernorm") }, "^$"},
		{"a layer without gradient", func(s *state) { s.bare(`layers\.2\.`) }, "^$"},
		{"a matrix not in the file", func(s *state) { s.lose("2.self_attn.v_proj") }, "2.self_attn.v_proj"},
		{"a layer not in the file", func(s *state) { s.lose(`layers\.2\.`) }, `layers\.2\.|norm`},
		{"a norm not in the file", func(s *state) { s.lose("model.norm") }, "norm"},
		{"an unchanged matrix", func(s *state) { s.still("2.self_attn.v_proj", zero) }, "^$"},
		{"unchanged siblings", func(s *state) { s.still("2.self_attn.[vk]_proj", zero) }, "^$"},
		{"a new matrix", func(s *state) { s.still("2.self_attn.v_proj", nil) }, "^$"},
		{"new norms", func(s *state) { s.still("norm", nil) }, "norm"},
		{"a norm of each layer new", func(s *state) { s.still("layers.*input_layernorm", nil) }, "norm"},
		{"no base", func(s *state) { s.still("", nil) }, ""},
		{"a buffer of a new shape", func(s *state) { s.weights = append(s.weights, Weight{Name: "model.inv_freq", Shape: []int64{16}}) }, "^$"},
		{"running statistics", func(s *state) {
			s.weights = append(s.weights, Weight{Name: "model.norm.running_var", Shape: []int64{64}})
		}, "^$"},
		{"a buffer of the shape of norms", func(s *state) { s.weights = append(s.weights, Weight{Name: "model.buf", Shape: []int64{64}}) }, "norm"},
	} {
		for groups := 1; groups <= 2; groups++ {
			s := newMade(0.3, small).state(groups)
			c.change(&s)
			r := s.find(t, nil)
			s.check(t, r, true)
			for _, d := range r.Declined {
				if !regexp.MustCompile(c.declined).MatchString(s.truth[d.Key]) {
					t.Errorf("%s, %d groups: %s declined: %s", c.name, groups, s.truth[d.Key], d.Reason)
				}
			}
		}
	}
}

// Each of the bounds has a case that only it decides.
func TestBounds(t *testing.T) {
	noise := func(seed uint64) Reader { return reader(func(i uint64) float64 { return value(seed, i) }) }
	const tied = `
		embed.weight 100x64
		layers.<4>.up.weight 96x64
		layers.<4>.up.bias 96
		layers.<4>.down.weight 96x64
		layers.<4>.down.bias 96
		layers.<4>.zero.weight 80
		layers.<4>.norm.weight 80
		last.weight 4096`
	for _, c := range []struct {
		name, model string
		rho         float64
		change      func(s *state)
		declined    string
	}{
		{"nothing follows", small, 0, func(s *state) {}, ""},
		{"small ones follow nothing", pairsOf(16, 30), 0, func(s *state) {}, ""},
		{"everything follows too little", "a.0.weight 256x256\na.1.weight 256x256\na.2.weight 256x256", 0.04, func(s *state) {}, ""},
		{"two weights with one change", small, 0.3, func(s *state) {
			s.weights[8].Residual = s.weights[9].Residual // layers.1.self_attn.q_proj, k_proj
			s.without("norm")
			s.without("1.self_attn.[vo]_proj")
		}, "1.self_attn.[qk]_proj"},
		{"the only one of a shape follows not", tied, 0.3, func(s *state) { s.still("embed", noise(1)) }, "embed"},
		// The order of the matrices says that of the biases, against that of the names.
		{"biases say nothing", tied, 0.3, func(s *state) { s.still("(up|down).bias", noise(2)) }, "^$"},
		{"norms say nothing", tied, 0.3, func(s *state) { s.still(`\d.(zero|norm)`, noise(3)) }, "(zero|norm)"},
		{"norms say the contrary of natural order, and little", tied, 0.3, func(s *state) {
			for i := range 4 {
				s.still(fmt.Sprint(i, ".zero"), noise(against+uint64(i)))
				s.still(fmt.Sprint(i, ".norm"), noise(against+100+uint64(i)))
			}
		}, "(zero|norm)"},
	} {
		s := newMade(c.rho, c.model).state(2)
		c.change(&s)
		r := s.find(t, nil)
		s.check(t, r, true)
		re, n := regexp.MustCompile(c.declined), 0
		for _, g := range s.groups {
			for _, p := range g {
				if re.MatchString(s.truth[p.Key]) {
					n++
				}
			}
		}
		for _, d := range r.Declined {
			if n--; !re.MatchString(s.truth[d.Key]) {
				t.Errorf("%s: %s declined: %s", c.name, s.truth[d.Key], d.Reason)
			}
		}
		if n != 0 {
			t.Errorf("%s: %d more should be declined than %v", c.name, n, r.Declined)
		}
	}
}

// pairsOf is a model of two matrices of each of many small shapes.
func pairsOf(from, to int) string {
	var b strings.Builder
	for n := from; n < to; n++ {
		fmt.Fprintf(&b, "a%d.weight %dx16\nb%d.weight %dx16\n", n, n, n, n)
	}
	return b.String()
}

const against = 49 // of the noises, one that happens to be for the true order
