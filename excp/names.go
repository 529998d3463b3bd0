package excp

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"excpfs/tensor"
	"excpfs/torchfile"
)

// The script numbers the parameters by a list of its own: those of a GPT-NeoX as
// Trainer orders them, first what has weight decay.
var (
	decayed = []string{
		"attention.query_key_value.weight", "attention.dense.weight", "mlp.dense_h_to_4h.weight", "mlp.dense_4h_to_h.weight",
	}
	undecayed = []string{
		"input_layernorm.weight", "input_layernorm.bias", "post_attention_layernorm.weight", "post_attention_layernorm.bias",
		"attention.query_key_value.bias", "attention.dense.bias", "mlp.dense_h_to_4h.bias", "mlp.dense_4h_to_h.bias",
	}
)

// neoX lists the parameters of a model of some layers.
func neoX(layers int) []string {
	list := []string{"gpt_neox.embed_in.weight"}
	each := func(parts []string) {
		for i := range layers {
			for _, p := range parts {
				list = append(list, fmt.Sprintf("gpt_neox.layers.%d.%s", i, p))
			}
		}
	}
	each(decayed)
	list = append(list, "embed_out.weight")
	each(undecayed)
	return append(list, "gpt_neox.final_layer_norm.weight", "gpt_neox.final_layer_norm.bias")
}

// maxLayers bounds the list: no model has more.
const maxLayers = 4096

// neoXOf lists the parameters of a model that a GPT-NeoX has, in its order.
func neoXOf(weights map[string]tensor.Info) []string {
	layers := 0
	for name := range weights {
		rest, ok := strings.CutPrefix(name, "gpt_neox.layers.")
		number, _, _ := strings.Cut(rest, ".")
		if n, err := strconv.Atoi(number); ok && err == nil && n >= 0 && n < maxLayers {
			layers = max(layers, n+1)
		}
	}
	if layers == 0 {
		return nil
	}
	return slices.DeleteFunc(neoX(layers), func(name string) bool { _, ok := weights[name]; return !ok })
}

// named lists the parameters by the names that the optimizer's file gives them.
func named(g torchfile.Groups) (list []string) {
	for _, group := range g.Groups {
		if len(group.Names) != len(group.Params) {
			return nil
		}
		list = append(list, group.Names...)
	}
	return list
}
