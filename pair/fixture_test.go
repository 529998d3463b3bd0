package pair

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync/atomic"
	"testing"

	"excpfs/safetensors"
	"excpfs/tensor"
	"excpfs/torchfile"
)

// state is a checkpoint with its base and the true names of its parameters.
type state struct {
	weights []Weight
	groups  []Group
	truth   map[string]string
}

// reads counts the elements that readers of these tests are asked for.
var reads atomic.Int64

func readerOf(v []float32) Reader {
	return func(_ context.Context, dst []float32, at int64) error {
		reads.Add(int64(len(dst)))
		copy(dst, v[at:at+int64(len(dst))])
		return nil
	}
}

func floats(b []byte) []float32 {
	v := make([]float32, len(b)/4)
	for i := range v {
		v[i] = math.Float32frombits(binary.LittleEndian.Uint32(b[4*i:]))
	}
	return v
}

// tensors reads the float32 tensors of a file.
func tensors(t testing.TB, name string, parse func(b []byte) (*tensor.Layout, error)) (infos []tensor.Info, values map[string][]float32) {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	l, err := parse(b)
	if err != nil {
		t.Fatal(err)
	}
	values = map[string][]float32{}
	for _, x := range l.Tensors {
		if x.DType == tensor.F32 {
			infos = append(infos, x)
			values[x.Name] = floats(b[x.Offset : x.Offset+x.Length])
		}
	}
	return infos, values
}

func parseSafetensors(b []byte) (*tensor.Layout, error) {
	return safetensors.Parse(bytes.NewReader(b), int64(len(b)))
}

func parseTorch(b []byte) (*tensor.Layout, error) {
	return torchfile.Parse(bytes.NewReader(b), int64(len(b)))
}

// readWeights reads the weights of a checkpoint and their difference from a base.
func readWeights(t testing.TB, file, base string) (all []Weight) {
	infos, values := tensors(t, file, parseSafetensors)
	var old map[string][]float32
	if base != "" {
		_, old = tensors(t, base, parseSafetensors)
	}
	for _, x := range infos {
		w := Weight{Name: x.Name, DType: x.DType, Shape: x.Shape}
		if old != nil {
			v := values[x.Name]
			for i := range v {
				v[i] -= old[x.Name][i]
			}
			w.Residual = readerOf(v)
		}
		all = append(all, w)
	}
	return all
}

// readGroups reads the groups of an optimizer.pt.
func readGroups(t testing.TB, file string) (groups []Group) {
	infos, values := tensors(t, file, parseTorch)
	params := map[string]*Param{}
	for _, x := range infos {
		role, key := tensor.RoleOf(x.Name)
		if role == tensor.Weight {
			continue
		}
		p := params[key]
		if p == nil {
			p = &Param{Key: key, Shape: x.Shape}
			params[key] = p
		}
		if role == tensor.ExpAvg {
			p.ExpAvg = readerOf(values[x.Name])
		} else {
			p.ExpAvgSq = readerOf(values[x.Name])
		}
	}
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	optimizers, err := torchfile.Optimizers(bytes.NewReader(b), int64(len(b)))
	if err != nil || len(optimizers) != 1 {
		t.Fatal(optimizers, err)
	}
	for _, g := range optimizers[0].Groups {
		var group Group
		for _, id := range g.Params {
			group = append(group, *params[id])
		}
		groups = append(groups, group)
	}
	return groups
}

// qkv is a checkpoint of the chain whose q, k, v and o have one shape.
func qkv(t testing.TB, base, step string) state {
	t.Helper()
	dir := "../tests/testdata/chain/qkv"
	if base != "" {
		base = filepath.Join(dir, "checkpoint-"+base, "model.safetensors")
	}
	at := filepath.Join(dir, "checkpoint-"+step)
	s := state{readWeights(t, filepath.Join(at, "model.safetensors"), base), readGroups(t, filepath.Join(at, "optimizer.pt")), nil}
	b, err := os.ReadFile(filepath.Join(dir, "truth.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &s.truth); err != nil {
		t.Fatal(err)
	}
	return s
}

// dev is a checkpoint of the large chain. Its truth is the same state by name.
func dev(t testing.TB, base, step string) state {
	t.Helper()
	root := os.Getenv("EXCPFS_SHARED")
	if root == "" {
		root = "../../shared"
	}
	dir := filepath.Join(root, "chain/dev")
	if _, err := os.Stat(dir); err != nil {
		t.Skip("skipped: no chain at " + dir + ": set EXCPFS_SHARED")
	}
	at := filepath.Join(dir, "checkpoint-"+step)
	s := state{readWeights(t, filepath.Join(at, "model.safetensors"), filepath.Join(dir, "checkpoint-"+base, "model.safetensors")),
		readGroups(t, filepath.Join(at, "optimizer.pt")), map[string]string{}}
	_, named := tensors(t, filepath.Join(at, "optimizer.safetensors"), parseSafetensors)
	_, numbered := tensors(t, filepath.Join(at, "optimizer.pt"), parseTorch)
	byValue := map[string][]string{}
	for _, name := range slices.Sorted(maps.Keys(named)) {
		if role, weight := tensor.RoleOf(name); role == tensor.ExpAvg {
			byValue[hash(named[name])] = append(byValue[hash(named[name])], weight)
		}
	}
	// Biases that the residual stream gets in one place have equal moments: attention.dense comes before mlp.
	for _, g := range s.groups {
		for _, p := range g {
			names := byValue[hash(numbered["state."+p.Key+".exp_avg"])]
			s.truth[p.Key] = names[0]
			byValue[hash(numbered["state."+p.Key+".exp_avg"])] = names[1:]
		}
	}
	return s
}

func hash(v []float32) string {
	var b []byte
	for _, x := range v {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(x))
	}
	return string(b)
}

func (s state) find(t testing.TB, known map[string]string) *Result {
	t.Helper()
	r, err := Find(context.Background(), s.weights, s.groups, known)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// check fails on wrong pairs and, unless declines are allowed, on those.
func (s state) check(t testing.TB, r *Result, declines bool) (right int) {
	t.Helper()
	for key, name := range r.Weights {
		if want := s.truth[key]; want != name {
			t.Errorf("%s is %s, not %s", key, want, name)
		} else {
			right++
		}
	}
	n := 0
	for _, g := range s.groups {
		for _, p := range g {
			if p.ExpAvg != nil {
				n++
			}
		}
	}
	if n != len(r.Weights)+len(r.Declined) {
		t.Errorf("%d parameters, %d paired, %d declined", n, len(r.Weights), len(r.Declined))
	}
	for _, d := range r.Declined {
		if d.Reason == "" {
			t.Errorf("%s declined without a reason", d.Key)
		}
		if !declines {
			t.Errorf("%s (%s) declined: %s", d.Key, s.truth[d.Key], d.Reason)
		}
	}
	return right
}

// cut is a checkpoint of the small chain that was cut out of the large one: some matrices,
// and the vectors of two layers. Its optimizer's state has names; here they are numbers.
func cut(t testing.TB, base, step string) state {
	t.Helper()
	dir := "../tests/testdata/chain/dev"
	at := filepath.Join(dir, "checkpoint-"+step)
	s := state{weights: readWeights(t, filepath.Join(at, "model.safetensors"), filepath.Join(dir, "checkpoint-"+base, "model.safetensors")), truth: map[string]string{}}
	shapes := map[string][]int64{}
	for _, w := range s.weights {
		shapes[w.Name] = w.Shape
	}
	_, values := tensors(t, filepath.Join(at, "optimizer.safetensors"), parseSafetensors)
	s.groups = make([]Group, 2)
	for g := range s.groups {
		for _, name := range neox() {
			if dims := shapes[name]; dims != nil && len(dims) == 2-g {
				key := strconv.Itoa(len(s.truth))
				s.truth[key] = name
				s.groups[g] = append(s.groups[g], Param{Key: key, Shape: dims,
					ExpAvg: readerOf(values["exp_avg."+name]), ExpAvgSq: readerOf(values["exp_avg_sq."+name])})
			}
		}
	}
	return s
}

// neox are the parameters of the chains' model in the order of its modules.
func neox() []string {
	names := []string{"gpt_neox.embed_in.weight"}
	for i := range 5 {
		for _, module := range []string{"input_layernorm", "post_attention_layernorm", "attention.query_key_value",
			"attention.dense", "mlp.dense_h_to_4h", "mlp.dense_4h_to_h"} {
			for _, s := range []string{"weight", "bias"} {
				names = append(names, fmt.Sprintf("gpt_neox.layers.%d.%s.%s", i, module, s))
			}
		}
	}
	return append(names, "gpt_neox.final_layer_norm.weight", "gpt_neox.final_layer_norm.bias", "embed_out.weight")
}
