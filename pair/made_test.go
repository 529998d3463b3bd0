package pair

import (
	"context"
	"fmt"
	"math"
	"math/rand"
	"strconv"
	"strings"
	"testing"
)

// made is a model of which only names and shapes are given, in the order of its
// modules: "NAME 64x64". Lines in a row with <4> in one place stand for layers 0 to 3.
type made struct {
	rho   float64 // correlation of a weight's change with its moments
	names []string
	dims  map[string][]int64
}

func newMade(rho float64, text string) *made {
	m := &made{rho: rho, dims: map[string][]int64{}}
	lines := strings.Split(strings.TrimSpace(text), "\n")
	for len(lines) > 0 {
		list, rest, isList := strings.Cut(strings.TrimSpace(lines[0]), "<")
		if !isList {
			m.add(list)
			lines = lines[1:]
			continue
		}
		count, _, _ := strings.Cut(rest, ">")
		end := 0
		for end < len(lines) && strings.HasPrefix(strings.TrimSpace(lines[end]), list+"<") {
			end++
		}
		n, _ := strconv.Atoi(count)
		for i := range n {
			for _, l := range lines[:end] {
				m.add(strings.Replace(strings.TrimSpace(l), "<"+count+">", strconv.Itoa(i), 1))
			}
		}
		lines = lines[end:]
	}
	return m
}

func (m *made) add(line string) {
	name, dims, _ := strings.Cut(line, " ")
	m.names = append(m.names, name)
	m.dims[name] = []int64{}
	for _, d := range strings.Split(dims, "x") {
		n, _ := strconv.ParseInt(d, 10, 64)
		m.dims[name] = append(m.dims[name], n)
	}
}

// value is a number from -1.7 to 1.7 with a variance of one, for each element of each tensor.
func value(seed, i uint64) float64 {
	x := seed*0x9e3779b97f4a7c15 + i
	x ^= x >> 32
	x *= 0xd6e8feb86659fd93
	x ^= x >> 32
	x *= 0xd6e8feb86659fd93
	x ^= x >> 32
	return (float64(x>>11)/(1<<53) - 0.5) * math.Sqrt(12)
}

func reader(fn func(i uint64) float64) Reader {
	return func(_ context.Context, dst []float32, at int64) error {
		reads.Add(int64(len(dst)))
		for k := range dst {
			dst[k] = float32(fn(uint64(at) + uint64(k)))
		}
		return nil
	}
}

// state gives the model's weights in the order of their names and its parameters
// in two groups as a Trainer makes them, or in one.
func (m *made) state(groups int) state {
	s := state{groups: make([]Group, groups), truth: map[string]string{}}
	var parts = make([][]string, groups)
	for _, n := range m.names {
		if groups == 2 && len(m.dims[n]) == 1 {
			parts[1] = append(parts[1], n)
		} else {
			parts[0] = append(parts[0], n)
		}
	}
	for g, names := range parts {
		for _, n := range names {
			seed := uint64(len(s.truth)+1) * 2
			key := strconv.Itoa(len(s.truth))
			s.truth[key] = n
			noise := math.Sqrt(1 - m.rho*m.rho)
			s.groups[g] = append(s.groups[g], Param{Key: key, Shape: m.dims[n],
				ExpAvg:   reader(func(i uint64) float64 { return -1e-3 * value(seed, i) }),
				ExpAvgSq: reader(func(i uint64) float64 { return 1e-6 })})
			s.weights = append(s.weights, Weight{Name: n, Shape: m.dims[n],
				Residual: reader(func(i uint64) float64 { return m.rho*value(seed, i) + noise*value(seed+1, i) })})
		}
	}
	return s
}

const llama = `
	model.embed_tokens.weight 512x256
	model.layers.<12>.self_attn.q_proj.weight 256x256
	model.layers.<12>.self_attn.k_proj.weight 256x256
	model.layers.<12>.self_attn.v_proj.weight 256x256
	model.layers.<12>.self_attn.o_proj.weight 256x256
	model.layers.<12>.mlp.gate_proj.weight 1024x256
	model.layers.<12>.mlp.up_proj.weight 1024x256
	model.layers.<12>.mlp.down_proj.weight 256x1024
	model.layers.<12>.input_layernorm.weight 256
	model.layers.<12>.post_attention_layernorm.weight 256
	model.norm.weight 256
	lm_head.weight 512x256`

const gemma = `
	model.embed_tokens.weight 512x96
	model.layers.<8>.self_attn.q_proj.weight 128x96
	model.layers.<8>.self_attn.k_proj.weight 64x96
	model.layers.<8>.self_attn.v_proj.weight 64x96
	model.layers.<8>.self_attn.o_proj.weight 96x128
	model.layers.<8>.mlp.gate_proj.weight 128x96
	model.layers.<8>.mlp.up_proj.weight 128x96
	model.layers.<8>.mlp.down_proj.weight 96x128
	model.layers.<8>.input_layernorm.weight 96
	model.layers.<8>.post_attention_layernorm.weight 96
	model.layers.<8>.pre_feedforward_layernorm.weight 96
	model.layers.<8>.post_feedforward_layernorm.weight 96
	model.norm.weight 96`

const gpt2 = `
	transformer.wte.weight 500x96
	transformer.wpe.weight 64x96
	transformer.h.<12>.ln_1.weight 96
	transformer.h.<12>.ln_1.bias 96
	transformer.h.<12>.attn.c_attn.weight 96x288
	transformer.h.<12>.attn.c_attn.bias 288
	transformer.h.<12>.attn.c_proj.weight 96x96
	transformer.h.<12>.attn.c_proj.bias 96
	transformer.h.<12>.ln_2.weight 96
	transformer.h.<12>.ln_2.bias 96
	transformer.h.<12>.mlp.c_fc.weight 96x384
	transformer.h.<12>.mlp.c_fc.bias 384
	transformer.h.<12>.mlp.c_proj.weight 384x96
	transformer.h.<12>.mlp.c_proj.bias 96
	transformer.ln_f.weight 96
	transformer.ln_f.bias 96`

const bert = `
	bert.embeddings.word_embeddings.weight 400x96
	bert.embeddings.position_embeddings.weight 128x96
	bert.embeddings.token_type_embeddings.weight 2x96
	bert.embeddings.LayerNorm.weight 96
	bert.embeddings.LayerNorm.bias 96
	bert.encoder.layer.<12>.attention.self.query.weight 96x96
	bert.encoder.layer.<12>.attention.self.query.bias 96
	bert.encoder.layer.<12>.attention.self.key.weight 96x96
	bert.encoder.layer.<12>.attention.self.key.bias 96
	bert.encoder.layer.<12>.attention.self.value.weight 96x96
	bert.encoder.layer.<12>.attention.self.value.bias 96
	bert.encoder.layer.<12>.attention.output.dense.weight 96x96
	bert.encoder.layer.<12>.attention.output.dense.bias 96
	bert.encoder.layer.<12>.attention.output.LayerNorm.weight 96
	bert.encoder.layer.<12>.attention.output.LayerNorm.bias 96
	bert.encoder.layer.<12>.intermediate.dense.weight 384x96
	bert.encoder.layer.<12>.intermediate.dense.bias 384
	bert.encoder.layer.<12>.output.dense.weight 96x384
	bert.encoder.layer.<12>.output.dense.bias 96
	bert.encoder.layer.<12>.output.LayerNorm.weight 96
	bert.encoder.layer.<12>.output.LayerNorm.bias 96
	bert.pooler.dense.weight 96x96
	bert.pooler.dense.bias 96`

const t5 = `
	shared.weight 400x96
	encoder.block.<6>.layer.0.SelfAttention.q.weight 96x96
	encoder.block.<6>.layer.0.SelfAttention.k.weight 96x96
	encoder.block.<6>.layer.0.SelfAttention.v.weight 96x96
	encoder.block.<6>.layer.0.SelfAttention.o.weight 96x96
	encoder.block.<6>.layer.0.layer_norm.weight 96
	encoder.block.<6>.layer.1.DenseReluDense.wi.weight 384x96
	encoder.block.<6>.layer.1.DenseReluDense.wo.weight 96x384
	encoder.block.<6>.layer.1.layer_norm.weight 96
	encoder.final_layer_norm.weight 96
	decoder.block.<6>.layer.0.SelfAttention.q.weight 96x96
	decoder.block.<6>.layer.0.SelfAttention.k.weight 96x96
	decoder.block.<6>.layer.0.SelfAttention.v.weight 96x96
	decoder.block.<6>.layer.0.SelfAttention.o.weight 96x96
	decoder.block.<6>.layer.0.layer_norm.weight 96
	decoder.block.<6>.layer.1.EncDecAttention.q.weight 96x96
	decoder.block.<6>.layer.1.EncDecAttention.k.weight 96x96
	decoder.block.<6>.layer.1.EncDecAttention.v.weight 96x96
	decoder.block.<6>.layer.1.EncDecAttention.o.weight 96x96
	decoder.block.<6>.layer.1.layer_norm.weight 96
	decoder.block.<6>.layer.2.DenseReluDense.wi.weight 384x96
	decoder.block.<6>.layer.2.DenseReluDense.wo.weight 96x384
	decoder.block.<6>.layer.2.layer_norm.weight 96
	decoder.final_layer_norm.weight 96`

const experts = `
	model.embed_tokens.weight 400x64
	model.layers.0.self_attn.q_proj.weight 64x64
	model.layers.0.self_attn.o_proj.weight 64x64
	model.layers.0.mlp.gate_proj.weight 256x64
	model.layers.0.mlp.up_proj.weight 256x64
	model.layers.0.mlp.down_proj.weight 64x256
	model.layers.0.input_layernorm.weight 64
	model.layers.0.post_attention_layernorm.weight 64
	model.layers.1.self_attn.q_proj.weight 64x64
	model.layers.1.self_attn.o_proj.weight 64x64
	model.layers.1.mlp.experts.<64>.gate_proj.weight 96x64
	model.layers.1.mlp.experts.<64>.up_proj.weight 96x64
	model.layers.1.mlp.experts.<64>.down_proj.weight 64x96
	model.layers.1.mlp.gate.weight 64x64
	model.layers.1.input_layernorm.weight 64
	model.layers.1.post_attention_layernorm.weight 64
	model.layers.2.self_attn.q_proj.weight 64x64
	model.layers.2.self_attn.o_proj.weight 64x64
	model.layers.2.mlp.experts.<64>.gate_proj.weight 96x64
	model.layers.2.mlp.experts.<64>.up_proj.weight 96x64
	model.layers.2.mlp.experts.<64>.down_proj.weight 64x96
	model.layers.2.mlp.gate.weight 64x64
	model.layers.2.input_layernorm.weight 64
	model.layers.2.post_attention_layernorm.weight 64
	model.norm.weight 64
	lm_head.weight 400x64`

const resnet = `
	conv1.weight 16x3x7x7
	bn1.weight 16
	bn1.bias 16
	layer1.<4>.conv1.weight 16x16x3x3
	layer1.<4>.bn1.weight 16
	layer1.<4>.bn1.bias 16
	layer1.<4>.conv2.weight 16x16x3x3
	layer1.<4>.bn2.weight 16
	layer1.<4>.bn2.bias 16
	layer2.<4>.conv1.weight 32x16x3x3
	layer2.<4>.bn1.weight 32
	layer2.<4>.bn1.bias 32
	layer2.<4>.conv2.weight 32x32x3x3
	layer2.<4>.bn2.weight 32
	layer2.<4>.bn2.bias 32
	fc.weight 10x32
	fc.bias 10`

func TestMade(t *testing.T) {
	for _, c := range []struct {
		name, lines string
		rho         float64
		declines    bool // norms of a few elements may be
	}{
		{"llama", llama, 0.1, false}, {"gemma", gemma, 0.15, false}, {"gpt2", gpt2, 0.15, false}, {"bert", bert, 0.15, false}, {"t5", t5, 0.15, false},
		{"experts", experts, 0.3, false}, {"resnet", resnet, 0.2, true},
	} {
		for groups := 1; groups <= 2; groups++ {
			t.Run(fmt.Sprint(c.name, groups), func(t *testing.T) {
				s := newMade(c.rho, c.lines).state(groups)
				reads.Store(0)
				r := s.find(t, nil)
				s.check(t, r, c.declines)
				if n, most := reads.Load(), 3*2*sampleElems*int64(len(s.weights)); n > most {
					t.Errorf("%d elements read, more than each sample twice: %d", n, most)
				}
			})
		}
	}
}

// A model of 80 layers, in the order of its modules and in none. The figures are ns for
// each search, with the time to make the values.
func BenchmarkFind(b *testing.B) {
	for _, name := range []string{"in order", "shuffled"} {
		b.Run(name, func(b *testing.B) {
			s := newMade(0.1, strings.ReplaceAll(llama, "<12>", "<80>")).state(2)
			if name == "shuffled" {
				shuffle(rand.New(rand.NewSource(1)), s.groups[0])
			}
			for b.Loop() {
				if r := s.find(b, nil); len(r.Weights) < 562 {
					b.Fatal(len(r.Weights), " of 562 matrices")
				}
			}
		})
	}
}
