package torchfile

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"excpfs/safetensors"
	"excpfs/tensor"
)

// chainOrder lists the parameters of the chain's model as its optimizer has
// them: the matrices, then norms and biases, each in the order of the modules.
func chainOrder(layers int) []string {
	names := []string{"gpt_neox.embed_in.weight"}
	for i := range layers {
		for _, module := range []string{"input_layernorm", "post_attention_layernorm", "attention.query_key_value",
			"attention.dense", "mlp.dense_h_to_4h", "mlp.dense_4h_to_h"} {
			for _, s := range []string{"weight", "bias"} {
				names = append(names, fmt.Sprintf("gpt_neox.layers.%d.%s.%s", i, module, s))
			}
		}
	}
	names = append(names, "gpt_neox.final_layer_norm.weight", "gpt_neox.final_layer_norm.bias", "embed_out.weight")
	decayed := func(n string) bool {
		return !strings.Contains(n, "layernorm") && !strings.Contains(n, "layer_norm") && !strings.HasSuffix(n, "bias")
	}
	rest := slices.DeleteFunc(slices.Clone(names), decayed)
	return append(slices.DeleteFunc(names, func(n string) bool { return !decayed(n) }), rest...)
}

// The real optimizer.pt of a training run holds what its optimizer.safetensors holds.
func TestChain(t *testing.T) {
	folder := filepath.Join(sharedFolder(), "chain/dev/checkpoint-500")
	pt, err := os.ReadFile(filepath.Join(folder, "optimizer.pt"))
	if err != nil {
		t.Skip("SKIPPED: no chain of checkpoints: ", err)
	}
	st, err := os.ReadFile(filepath.Join(folder, "optimizer.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	l, err := parse(pt)
	if err != nil {
		t.Fatal(err)
	}
	if len(l.Tensors) != 192 || len(l.Sums) != 192 {
		t.Fatalf("%d storages, %d checksums", len(l.Tensors), len(l.Sums))
	}
	want, err := safetensors.Parse(bytes.NewReader(st), int64(len(st)))
	if err != nil {
		t.Fatal(err)
	}
	named := map[string]tensor.Info{}
	for _, x := range want.Tensors {
		named[x.Name] = x
	}
	order := chainOrder(5)
	for _, x := range l.Tensors {
		var id int
		var kind string
		if _, err := fmt.Sscanf(x.Name, "state.%d.%s", &id, &kind); err != nil || id >= len(order) {
			t.Fatalf("name %q: %v", x.Name, err)
		}
		y, ok := named[kind+"."+order[id]]
		if !ok || x.DType != y.DType || !slices.Equal(x.Shape, y.Shape) || !bytes.Equal(pt[x.Offset:][:x.Length], st[y.Offset:][:y.Length]) {
			t.Errorf("%s is not %+v", x.Name, y)
		}
		delete(named, y.Name)
	}
	if len(named) > 0 {
		t.Errorf("left over: %v", named)
	}
	groups, err := Optimizers(bytes.NewReader(pt), int64(len(pt)))
	if err != nil || len(groups) != 1 || len(groups[0].Groups) != 2 || len(groups[0].Groups[0].Params) != 22 || groups[0].Groups[1].Params[41] != "63" {
		t.Errorf("groups: %v, %v", groups, err)
	}
}

// Whatever a trainer saves with torch.save parses, also where no tensor is in it.
func TestChainOthers(t *testing.T) {
	files, _ := filepath.Glob(filepath.Join(sharedFolder(), "chain/*/checkpoint-*/*.pt*"))
	if len(files) == 0 {
		t.Skip("SKIPPED: no chain of checkpoints under " + sharedFolder())
	}
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if l, err := parse(b); err != nil || l.Format != Format {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func sharedFolder() string {
	if s := os.Getenv("EXCPFS_SHARED"); s != "" {
		return s
	}
	return "../../shared"
}
