package excp

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"excpfs/safetensors"
	"excpfs/tensor"
	"excpfs/torchfile"
)

// Series is what all deltas on one full checkpoint share: which parameter's moments
// are where in optimizer.pt, whose framing never changes.
type Series struct {
	moments map[string]*[kinds]slot
	sums    map[int64][]int64 // of the storage at an offset: where its CRC-32 stands
	size    int64             // of the optimizer's file
}

// slot is where a moment is.
type slot struct {
	found bool
	torchfile.Tensor
}

// Checkpoint is a checkpoint's two files.
type Checkpoint struct{ Model, Optimizer File }

// Begin reads a full checkpoint. order lists the parameters by their numbers in the
// optimizer's state, as the script's optimizer_name does; nil: those of a GPT-NeoX, or
// by the names in the file.
func Begin(full Checkpoint, order []string) (*Series, error) {
	weights, err := layoutOf(full.Model)
	if err != nil {
		return nil, err
	}
	l, err := torchfile.Parse(full.Optimizer, full.Optimizer.Size)
	if err != nil {
		return nil, fmt.Errorf("optimizer: %w", err)
	}
	s := &Series{moments: map[string]*[kinds]slot{}, sums: map[int64][]int64{}, size: l.Size}
	for _, sum := range l.Sums {
		s.sums[l.Tensors[sum.Tensor].Offset] = sum.Offsets
	}
	state, err := readState(full.Optimizer)
	if err != nil {
		return nil, fmt.Errorf("optimizer: %w", err)
	}
	if order == nil {
		if order, err = findOrder(full.Optimizer, weights, len(state)); err != nil {
			return nil, err
		}
	}
	for i, name := range order {
		p := state[fmt.Sprint(i)]
		if p != nil && s.moments[name] == nil {
			s.moments[name] = p
		} else if p != nil {
			return nil, wrong(name, "twice in the list of parameters")
		}
	}
	return s, nil
}

// findOrder is for a full checkpoint: its model tells of which parameters there is a state.
func findOrder(optimizer File, weights map[string]tensor.Info, states int) ([]string, error) {
	order := neoXOf(weights)
	if len(order) == states && states > 0 {
		return order, nil
	}
	groups, err := torchfile.Optimizers(optimizer, optimizer.Size)
	if err != nil {
		return nil, fmt.Errorf("optimizer: %w", err)
	}
	for _, g := range groups {
		if list := named(g); g.Path == "" && list != nil && len(list) == states {
			return list, nil
		}
	}
	return nil, wrong("", "the optimizer has the state of %d parameters, and neither are they those of a GPT-NeoX nor are they named: "+
		"a list of the parameters is needed, in the order of the script's optimizer_name", states)
}

// readState finds the moments in an optimizer's file, by the number of the parameter.
func readState(f File) (map[string]*[kinds]slot, error) {
	list, err := torchfile.Tensors(f, f.Size)
	if err != nil {
		return nil, err
	}
	state := map[string]*[kinds]slot{}
	for _, t := range list {
		if len(t.Keys) != 3 || t.Keys[0] != "state" {
			continue
		}
		for k := expAvg; k < kinds; k++ {
			if t.Keys[2] != names[k].what {
				continue
			}
			p := state[t.Keys[1]]
			if p == nil {
				p = new([kinds]slot)
				state[t.Keys[1]] = p
			}
			p[k] = slot{true, t}
		}
	}
	return state, nil
}

func layoutOf(model File) (map[string]tensor.Info, error) {
	l, err := safetensors.Parse(model, model.Size)
	if err != nil {
		return nil, fmt.Errorf("model: %w", err)
	}
	weights := map[string]tensor.Info{}
	for _, t := range l.Tensors {
		weights[t.Name] = t
	}
	return weights, nil
}

// step is a delta on a certain base, checked.
type step struct {
	s       *Series
	d       *Delta
	base    Checkpoint
	weights map[string]tensor.Info // of the base
	raw     []string               // what has no codebook
	notes   []string
}

// prepare checks a delta against its base and the optimizer's file.
func (s *Series) prepare(d *Delta, base Checkpoint) (*step, error) {
	if base.Optimizer.Size != s.size {
		return nil, wrong("", "the optimizer's file has %d bytes, that of the full checkpoint %d", base.Optimizer.Size, s.size)
	}
	weights, err := layoutOf(base.Model)
	if err != nil {
		return nil, err
	}
	t := &step{s: s, d: d, base: base, weights: weights}
	taken := map[int64]string{}
	for _, name := range d.names {
		if err := t.param(name, taken); err != nil {
			return nil, err
		}
	}
	t.report()
	return t, nil
}

// param checks one parameter and tells what is odd about it.
func (t *step) param(name string, taken map[int64]string) error {
	w, ok := t.weights[name]
	moments := t.s.moments[name]
	switch {
	case !ok:
		return wrong(name, "not in the model that is the base")
	case moments == nil:
		return wrong(name, "the optimizer's file has no state of it")
	case w.DType != tensor.F32 && w.DType != tensor.F16 && w.DType != tensor.BF16:
		return wrong(name, "%s in the base, where a float type belongs", w.DType)
	}
	for k := range kinds {
		c := &t.d.params[name][k]
		if err := c.fit(name, k, w.Elems()); err != nil {
			return err
		}
		if c.values == nil && w.Elems() > 0 {
			t.raw = append(t.raw, fmt.Sprintf("%s of %s", names[k].what, name))
		}
		if k == weight {
			continue
		}
		if err := moments[k].fit(name, k, w.Shape); err != nil {
			return err
		}
		if other, ok := taken[moments[k].Offset]; ok && w.Elems() > 0 {
			return wrong(name, "%s shares its storage with that of %q", names[k].what, other)
		}
		taken[moments[k].Offset] = name
	}
	return nil
}

// fit checks that the payload of a moment can be replaced in place.
func (m *slot) fit(name string, k kind, shape []int64) error {
	what := names[k].what
	switch {
	case !m.found:
		return wrong(name, "the optimizer's file has no %s of it", what)
	case m.DType != tensor.F32:
		return wrong(name, "%s is %s in the optimizer's file; only F32 can be replaced", what, m.DType)
	case !slices.Equal(m.Shape, shape):
		return wrong(name, "%s has shape %v in the optimizer's file, the weight %v", what, m.Shape, shape)
	case m.Start != 0:
		return wrong(name, "%s begins inside a storage", what)
	}
	if n, _ := tensor.Product(shape); m.Length != 4*n {
		return wrong(name, "%s is part of a storage of %d bytes", what, m.Length)
	}
	return whole(m.Tensor, name, what)
}

// manyRaw is how many tensors without a codebook are named.
const manyRaw = 3

// report notes what is odd: small tensors often have no codebook, so those are counted.
func (t *step) report() {
	if n := len(t.raw); n > manyRaw {
		t.raw = append(t.raw[:manyRaw], fmt.Sprintf("%d more", n-manyRaw))
	}
	if n := len(t.raw); n > 0 {
		t.note("no codebook, values taken as they are: %s", strings.Join(t.raw, ", "))
	}
	for _, name := range slices.Sorted(maps.Keys(t.weights)) {
		if t.d.params[name] == nil {
			t.note("tensor %q: not in the delta: left out of the model, as the script does; its moments stay as they were", name)
		}
	}
}

func (t *step) note(format string, a ...any) { t.notes = append(t.notes, fmt.Sprintf(format, a...)) }
