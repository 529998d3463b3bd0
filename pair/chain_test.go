package pair

import (
	"math"
	"testing"

	"excpfs/tensor"
)

func TestChains(t *testing.T) {
	for _, c := range []struct {
		name       string
		state      func(t testing.TB, base, step string) state
		base, step string
		params     int
	}{
		{"qkv", qkv, "300", "340", 29},
		{"qkv", qkv, "340", "400", 29},
		{"qkv", qkv, "300", "400", 29},
		{"cut", cut, "500", "600", 22},
		{"cut", cut, "600", "700", 22},
		{"cut", cut, "500", "700", 22},
		{"dev", dev, "500", "600", 64},
		{"dev", dev, "600", "700", 64},
		{"dev", dev, "700", "800", 64},
		{"dev", dev, "500", "800", 64},
	} {
		t.Run(c.name+" "+c.base+" "+c.step, func(t *testing.T) {
			s := c.state(t, c.base, c.step)
			r := s.find(t, nil)
			if n := s.check(t, r, false); n != c.params {
				t.Errorf("%d of %d right", n, c.params)
			}
		})
	}
}

// A tensor in bfloat16 changes by whole steps, or not at all.
func TestHalfPrecision(t *testing.T) {
	dir := "../tests/testdata/chain/qkv"
	s := qkv(t, "300", "340")
	_, now := tensors(t, dir+"/checkpoint-340/model.safetensors", parseSafetensors)
	_, old := tensors(t, dir+"/checkpoint-300/model.safetensors", parseSafetensors)
	for i, w := range s.weights {
		change := make([]float32, len(now[w.Name]))
		for k := range change {
			change[k] = half(now[w.Name][k]) - half(old[w.Name][k])
		}
		s.weights[i].DType, s.weights[i].Residual = tensor.BF16, readerOf(change)
	}
	s.check(t, s.find(t, nil), false)
}

func half(x float32) float32 { return math.Float32frombits((math.Float32bits(x) + 0x8000) &^ 0xffff) }
