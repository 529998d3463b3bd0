package seal

import (
	"fmt"
	"slices"
	"testing"
)

// list writes a list of what value writes.
func (w *torchWriter) list(items ...any) {
	w.op("](")
	for _, v := range items {
		w.value(v)
	}
	w.op("e")
}

// moments writes the state of one parameter.
func moments(w *torchWriter, shape []int, m, v []float32) func() {
	return func() { w.dict("exp_avg", tensorData{"", shape, m}, "exp_avg_sq", tensorData{"", shape, v}) }
}

// Where the groups have names, these are believed: also of vectors, and from the first difference on, in whatever order the numbers are.
func TestParamNames(t *testing.T) {
	md := newTwins(31)
	r := newRig(t, Options{})
	order, truth := slices.Clone(md.names), map[string]string{}
	slices.Reverse(order)
	order[0], order[5] = order[5], order[0]
	for step := 1; step <= 3; step++ {
		md.train()
		w := new(torchWriter)
		var states, names []any
		var ids []int
		for i, n := range order {
			states = append(states, i, moments(w, md.shapes[n], md.m[n], md.v[n]))
			names, ids, truth[fmt.Sprint(i)] = append(names, n), append(ids, i), n
		}
		group := func() { w.dict("lr", 1, "params", ids, "param_names", func() { w.list(names...) }) }
		w.dict("state", func() { w.dict(states...) }, "param_groups", func() { w.list(group) })
		dir := fmt.Sprintf("c-%d/", step)
		r.put(dir+"optimizer.pt", w.file())
		r.put(dir+"model.safetensors", md.weights())
		r.seal()
		checkZip(t, r.get(dir+"optimizer.pt"))
		if right, wrong, none := r.pairing(dir+"optimizer.pt", truth); step > 1 && right != len(order) {
			t.Errorf("step %d: %d right, %d wrong, %d without", step, right, wrong, none)
		}
	}
}

// Flat partitions lie in one file with moments of their length; of several of one length the numbers tell.
func TestFlatPartitions(t *testing.T) {
	md := newTwins(32)
	a, b := md.names[0], md.names[1] // of one shape
	r := newRig(t, Options{})
	for step := 1; step <= 3; step++ {
		md.train()
		w, flat := new(torchWriter), []int{len(md.w[a])}
		group := func(id int) func() { return func() { w.dict("lr", 1, "params", []int{id}) } }
		w.dict("optimizer_state_dict", func() {
			w.dict("zero_stage", 2, "base_optimizer_state", func() {
				w.dict("state", func() { w.dict(0, moments(w, flat, md.m[a], md.v[a]), 1, moments(w, flat, md.m[b], md.v[b])) },
					"param_groups", func() { w.list(group(0), group(1)) })
			}, "single_partition_of_fp32_groups", func() { w.list(tensorData{"", flat, md.w[a]}, tensorData{"", flat, md.w[b]}) })
		})
		p := fmt.Sprintf("global_step%d/zero_pp_rank_0_mp_rank_00_optim_states.pt", step)
		r.put(p, w.file())
		r.seal()
		checkZip(t, r.get(p))
		truth := map[string]string{}
		for i := range 2 {
			truth[fmt.Sprint("optimizer_state_dict.base_optimizer_state.state.", i)] = fmt.Sprint("optimizer_state_dict.single_partition_of_fp32_groups.", i)
		}
		if right, wrong, none := r.pairing(p, truth); step > 1 && right != 2 {
			t.Errorf("step %d: %d right, %d wrong, %d without", step, right, wrong, none)
		}
		if step > 1 && !r.lossy(p) {
			t.Errorf("step %d is not lossy", step)
		}
	}
}
