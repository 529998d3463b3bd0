package pair

import (
	"context"
	"maps"
	"reflect"
	"testing"
)

func some(ctx context.Context, dst []float32, at int64) error {
	for i := range dst {
		dst[i] = float32(i%3) + 1
	}
	return nil
}

func weight(name string, shape ...int64) Weight { return Weight{Name: name, Shape: shape} }

func with(key, name string, shape ...int64) Param {
	return Param{Key: key, Name: name, Shape: shape, ExpAvg: some, ExpAvgSq: some}
}

func TestNames(t *testing.T) {
	for _, c := range []struct {
		name    string
		weights []Weight
		group   Group
		want    map[string]string
	}{
		{"param_names", []Weight{weight("a.weight", 4), weight("b.weight", 4)}, Group{with("0", "b.weight", 4), with("1", "a.weight", 4)},
			map[string]string{"0": "b.weight", "1": "a.weight"}},
		{"param_names behind wrappers", []Weight{weight("model.a.weight", 4), weight("model.b.weight", 4)},
			Group{with("0", "module._orig_mod.model.b.weight", 4), with("1", "module._orig_mod.a.weight", 4)},
			map[string]string{"0": "model.b.weight", "1": "model.a.weight"}},
		{"weights behind wrappers", []Weight{weight("_orig_mod.model.a.weight", 4), weight("_orig_mod.model.b.weight", 4)},
			Group{with("0", "b.weight", 4), with("1", "model.a.weight", 4)},
			map[string]string{"0": "_orig_mod.model.b.weight", "1": "_orig_mod.model.a.weight"}},
		{"a name fits two", []Weight{weight("x.net.weight", 4), weight("y.net.weight", 4)}, Group{with("0", "net.weight", 4)}, nil},
		{"a name fits two, one by shape", []Weight{weight("x.net.weight", 4), weight("y.net.weight", 5)}, Group{with("0", "net.weight", 4)},
			map[string]string{"0": "x.net.weight"}},
		{"the whole name before an end", []Weight{weight("net.weight", 4), weight("y.net.weight", 4)}, Group{with("0", "net.weight", 4)},
			map[string]string{"0": "net.weight"}},
		{"another shape", []Weight{weight("a.weight", 4), weight("b.weight", 5)}, Group{with("0", "a.weight", 5)}, nil},
		{"no such name", []Weight{weight("a.weight", 4)}, Group{with("0", "b.weight", 4)}, nil},
		{"two of one name", []Weight{weight("a.weight", 4)}, Group{with("0", "a.weight", 4), with("1", "module.a.weight", 4)}, nil},
		{"keys", []Weight{weight("layers.0.q.weight", 4), weight("layers.1.q.weight", 4)},
			Group{with("layers.1.q.weight", "", 4), with("layers.0.q.weight", "", 4)},
			map[string]string{"layers.1.q.weight": "layers.1.q.weight", "layers.0.q.weight": "layers.0.q.weight"}},
		{"keys under a state", []Weight{weight("net.q.weight", 4), weight("q.weight", 4)},
			Group{with("optim.state.model.net.q.weight", "", 4)},
			map[string]string{"optim.state.model.net.q.weight": "net.q.weight"}},
		{"ends of both", []Weight{weight("attn.q.weight", 4)}, Group{with("mlp.q.weight", "", 4)}, nil},
		{"not at a dot", []Weight{weight("req.weight", 4)}, Group{with("q.weight", "", 4)}, nil},
		{"a name in capitals", []Weight{weight("a.Weight", 4)}, Group{with("a.weight", "", 4)}, nil},
		{"a number is no name", []Weight{weight("0", 4), weight("1", 4)}, Group{with("1", "", 4), with("0", "", 4)}, nil},
		{"partitions", []Weight{
			weight("optimizer_state_dict.single_partition_of_fp32_groups.0", 70), weight("optimizer_state_dict.single_partition_of_fp32_groups.1", 9)},
			Group{with("optimizer_state_dict.base_optimizer_state.state.1", "", 9), with("optimizer_state_dict.base_optimizer_state.state.0", "", 70)},
			map[string]string{"optimizer_state_dict.base_optimizer_state.state.0": "optimizer_state_dict.single_partition_of_fp32_groups.0",
				"optimizer_state_dict.base_optimizer_state.state.1": "optimizer_state_dict.single_partition_of_fp32_groups.1"}},
		{"partitions of one length", []Weight{weight("o.fp32_flat_groups.0", 9), weight("o.fp32_flat_groups.1", 9), weight("w", 8)},
			Group{with("o.state.1", "", 9), with("o.state.0", "", 9)},
			map[string]string{"o.state.0": "o.fp32_flat_groups.0", "o.state.1": "o.fp32_flat_groups.1"}},
		{"partitions of one length and other numbers", []Weight{weight("o.fp32_flat_groups.0", 9), weight("o.fp32_flat_groups.1", 9)},
			Group{with("o.state.2", "", 9), with("o.state.3", "", 9)}, nil},
		{"a shape of their own", []Weight{weight("a", 4, 5), weight("b", 7), weight("c", 7)}, Group{with("0", "", 7), with("1", "", 4, 5), with("2", "", 7)},
			map[string]string{"1": "a"}},
		{"nothing", nil, nil, nil},
		{"no weights", nil, Group{with("0", "", 7)}, nil},
		{"a key twice", []Weight{weight("a", 7)}, Group{with("0", "", 7), with("0", "", 7)}, map[string]string{"0": "a"}},
		{"odd shapes", []Weight{weight("a", -1, 3), weight("b", 0), weight("c")}, Group{with("0", "", 0), with("1", ""), with("2", "", -1, 3)},
			map[string]string{"0": "b", "1": "c", "2": "a"}},
	} {
		r, err := Find(context.Background(), c.weights, []Group{c.group}, nil)
		if err != nil {
			t.Fatal(c.name, err)
		}
		if !maps.Equal(r.Weights, c.want) {
			t.Errorf("%s: %v, declined %v, want %v", c.name, r.Weights, r.Declined, c.want)
		}
		for _, d := range r.Declined {
			if d.Reason == "" {
				t.Errorf("%s: %s declined without a reason", c.name, d.Key)
			}
		}
		for i := range c.weights { // nothing to read: names and shapes go before data
			c.weights[i].Residual = some
		}
		again, err := Find(context.Background(), c.weights, []Group{c.group}, nil)
		if err != nil || !reflect.DeepEqual(again.Weights, r.Weights) {
			t.Errorf("%s with residuals: %v, %v", c.name, again, err)
		}
	}
}
