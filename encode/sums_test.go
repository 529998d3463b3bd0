package encode

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"testing"

	"excpfs/tensor"
)

// summed adds to a file, for each of its tensors, a checksum in front, one behind all and one behind half of them:
// what a record of a zip has in its header, in the directory and in its descriptor.
func summed(t *testing.T, p plain, valid, ahead bool) plain {
	t.Helper()
	out := plain{layout: &tensor.Layout{Format: "test"}}
	put := func(sum uint32) int64 {
		if !valid {
			sum++
		}
		out.data = binary.LittleEndian.AppendUint32(out.data, sum)
		return int64(len(out.data)) - 4
	}
	var late []uint32
	for i, info := range p.layout.Tensors {
		payload, s := p.bytes(info.Name), tensor.Sum{Tensor: i}
		sum := crc32.ChecksumIEEE(payload)
		if ahead {
			s.Offsets = append(s.Offsets, put(sum))
		}
		info.Offset = int64(len(out.data))
		out.data = append(out.data, payload...)
		if i%2 == 0 {
			s.Offsets = append(s.Offsets, put(sum))
		}
		out.layout.Tensors = append(out.layout.Tensors, info)
		out.layout.Sums = append(out.layout.Sums, s)
		late = append(late, sum)
	}
	for i, sum := range late {
		out.layout.Sums[i].Offsets = append(out.layout.Sums[i].Offsets, put(sum))
	}
	out.layout.Size = int64(len(out.data))
	if err := out.layout.Check(); err != nil {
		t.Fatal(err)
	}
	return out
}

// sums are those a file holds, and whether each is that of its payload.
func (p plain) checkSums(t *testing.T, valid func(name string) bool) {
	t.Helper()
	for _, s := range p.layout.Sums {
		info := p.layout.Tensors[s.Tensor]
		want := crc32.ChecksumIEEE(p.bytes(info.Name))
		for _, at := range s.Offsets {
			if got := binary.LittleEndian.Uint32(p.data[at:]); (got == want) != valid(info.Name) {
				t.Errorf("%s at %d: checksum %08x, of the payload %08x", info.Name, at, got, want)
			}
		}
	}
}

func TestSums(t *testing.T) {
	m := newModel(t, tensor.F32, tensor.F32, 9)
	all := func(string) bool { return true }
	for _, c := range []struct {
		name         string
		valid, ahead bool
	}{{"behind", true, false}, {"ahead", true, true}, {"wrong", false, false}} {
		t.Run(c.name, func(t *testing.T) {
			s := shelf{}
			base := s.seal(t, input(summed(t, m.base, c.valid, c.ahead), excpProfile))
			weights, moments := summed(t, m.weights, c.valid, c.ahead), summed(t, m.moments, c.valid, c.ahead)
			st := sealStep(t, s, weights, moments, &base, excpProfile)
			for _, got := range []sealed{st.weights, st.moments} {
				lossy := false
				for _, a := range got.ix.Tensors {
					lossy = lossy || a.Error != 0
				}
				if lossy == c.ahead {
					t.Errorf("lossy: %v, with checksums ahead of the payloads: %v", lossy, c.ahead)
				}
			}
			if c.valid {
				st.weights.checkSums(t, all)
				st.moments.checkSums(t, all)
			} else {
				checkVerbatim(t, weights, st.weights) // what was wrong stays as it was
				checkVerbatim(t, moments, st.moments)
			}
			// What was decoded comes back without further loss, checksums and all.
			in := input(st.moments.plain, excpProfile)
			in.Weights = []Sibling{{File: st.weights.file}}
			again := s.seal(t, in)
			if !bytes.Equal(again.data, st.moments.data) {
				t.Error("sealed again, the moments changed")
			}
		})
	}
}

// Moments named by numbers are paired by Input.Pairs, with weights in two other files.
func TestPairs(t *testing.T) {
	m := newModel(t, tensor.F32, tensor.F32, 10)
	s := shelf{}
	half := len(m.weights.layout.Tensors) / 2
	var siblings []Sibling
	for k, names := range [][]shaped{shapes[:half], shapes[half:]} {
		base, next := newBuilder(), newBuilder()
		for _, x := range names {
			base.add(x.name, tensor.F32, x.shape, m.base.bytes(x.name))
			next.add(x.name, tensor.F32, x.shape, m.weights.bytes(x.name))
		}
		in := input(next.file(t), excpProfile)
		b := s.seal(t, input(base.file(t), excpProfile))
		in.Base = b.file
		w := s.seal(t, in)
		siblings = append(siblings, Sibling{w.file, string(rune('a' + k)), "base"})
	}
	numbered, pairs := newBuilder(), map[string]string{}
	for i, x := range shapes {
		key := string(rune('0' + i))
		pairs[key] = x.name
		for _, role := range []string{"exp_avg", "exp_avg_sq"} {
			numbered.add("state."+key+"."+role, tensor.F32, x.shape, m.moments.bytes(role+"."+x.name))
		}
	}
	in := input(numbered.file(t), excpProfile)
	in.Weights, in.Pairs = siblings, pairs
	got := s.seal(t, in)
	if n := len(got.ix.Deps); n != 4 {
		t.Fatalf("%d dependencies, want two files and their bases", n)
	}
	for i, x := range shapes {
		a := got.tensor("state." + string(rune('0'+i)) + ".exp_avg")
		k := 0
		if i >= half {
			k = 1
		}
		if a.Mask != x.name || a.Weights < 0 || got.ix.Deps[a.Weights].Hint != siblings[k].Hint {
			t.Errorf("%s: mask %q of dependency %d", a.Name, a.Mask, a.Weights)
		}
	}
	byName := input(m.moments, excpProfile)
	byName.Weights = siblings
	want := s.seal(t, byName)
	for i, x := range shapes {
		for _, role := range []string{"exp_avg", "exp_avg_sq"} {
			if !bytes.Equal(got.plain.bytes("state."+string(rune('0'+i))+"."+role), want.plain.bytes(role+"."+x.name)) {
				t.Errorf("%s.%s decodes otherwise than by name", role, x.name)
			}
		}
	}
}

// Of opaque tensors every bit is kept, whatever their names say.
func TestOpaque(t *testing.T) {
	m := newModel(t, tensor.F32, tensor.F32, 11)
	s := shelf{}
	base := s.seal(t, input(m.base, excpProfile))
	w, v := m.weights, m.moments
	for _, p := range []*plain{&w, &v} {
		l := *p.layout
		for i := range l.Tensors {
			l.Opaque = append(l.Opaque, i)
		}
		p.layout = &l
	}
	st := sealStep(t, s, w, v, &base, excpProfile)
	if !bytes.Equal(st.weights.data, w.data) || !bytes.Equal(st.moments.data, v.data) {
		t.Error("opaque tensors changed")
	}
}

func TestLossyWeight(t *testing.T) {
	for _, c := range []struct {
		name  string
		shape []int64
		want  bool
	}{
		{"layers.0.weight", []int64{64, 64}, true},
		{"layers.0.weight", []int64{64, 63}, false},
		{"layers.0.bias", []int64{4096}, false},
		{"optimizer_state_dict.single_partition_of_fp32_groups.0", []int64{4096}, true},
		{"max_exp_avg_sq.layers.0.weight", []int64{64, 64}, false},
		{"state.12.momentum_buffer", []int64{64, 64}, false},
		{"optimizer_states.0.state.3.anything", []int64{64, 64}, false},
		{"state.layers.weight", []int64{64, 64}, true},
		{"state.layers.weight.momentum", []int64{64, 64}, false},
		{"optim.state.layers.weight.z", []int64{64, 64}, false},
		{"17", []int64{64, 64}, false},
		{"0.17", []int64{64, 64}, false},
	} {
		if got := LossyWeight(tensor.Info{Name: c.name, DType: tensor.F32, Shape: c.shape}); got != c.want {
			t.Errorf("%s %v: %v", c.name, c.shape, got)
		}
	}
}
