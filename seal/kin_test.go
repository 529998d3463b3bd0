package seal

import (
	"fmt"
	"slices"
	"testing"

	"excpfs/archive"
)

func TestKinFirst(t *testing.T) {
	for _, c := range []struct {
		name  string
		files []string
		want  []string
	}{
		{"optimizer.bin", []string{"ema.safetensors", "model_1.safetensors", "model.safetensors"}, []string{"model.safetensors", "ema.safetensors", "model_1.safetensors"}},
		{"optimizer_1.bin", []string{"model.safetensors", "model_1.safetensors"}, []string{"model_1.safetensors", "model.safetensors"}},
		{"optimizer.pt", []string{"model-00002-of-00002.safetensors", "model-00001-of-00002.safetensors"}, []string{"model-00002-of-00002.safetensors", "model-00001-of-00002.safetensors"}},
		{"optim_", []string{"b_1", "a_"}, []string{"a_", "b_1"}},
	} {
		if got := kinFirst(c.files, c.name, func(s string) string { return s }); !slices.Equal(got, c.want) {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

// Two models of one architecture in one folder, each with its optimizer, as accelerate saves them.
func TestTwoModels(t *testing.T) {
	models := []*model{newTwins(41), newTwins(42)}
	r := newRig(t, Options{})
	for step := 1; step <= 2; step++ {
		for i, end := range []string{"", "_1"} {
			models[i].train()
			r.put(fmt.Sprintf("c-%d/optimizer%s.bin", step, end), models[i].optimizer())
			r.put(fmt.Sprintf("c-%d/model%s.safetensors", step, end), models[i].weights())
		}
		r.seal()
	}
	for i, end := range []string{"", "_1"} {
		optimizer := "c-2/optimizer" + end + ".bin"
		r.wantMasks(optimizer, "", models[i], "")
		if d, _ := r.dep(optimizer, archive.RoleWeights); d.Hint != "c-2/model"+end+".safetensors" {
			t.Errorf("%s: moments lie in the mask of %s", optimizer, d.Hint)
		}
	}
}
