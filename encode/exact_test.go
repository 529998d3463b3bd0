package encode

import (
	"bytes"
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"testing"

	"excpfs/archive"
	"excpfs/codec"
	"excpfs/tensor"
)

// odd is a tensor of each kind that must stay as it is.
func odd(t testing.TB, seed uint64) plain {
	r := rand.New(rand.NewPCG(seed, 2))
	b := newBuilder()
	raw := func(n int) []byte {
		p := make([]byte, n)
		for i := range p {
			p[i] = byte(r.Uint32())
		}
		return p
	}
	b.add("bool", tensor.Bool, []int64{3}, []byte{0, 1, 1})
	b.add("f4", tensor.F4, []int64{7, 3}, raw(11))
	b.add("f6", tensor.F6E2M3, []int64{5}, raw(4))
	b.add("f8", tensor.F8E4M3, []int64{100, 50}, raw(5000))
	b.add("c64", tensor.C64, []int64{9, 9}, raw(648))
	b.add("i16", tensor.I16, []int64{64, 80}, raw(10240))
	b.add("empty", tensor.F32, []int64{0, 5}, nil)
	b.add("exp_avg.empty", tensor.F32, []int64{0, 5}, nil)
	b.add("scalar", tensor.F32, nil, raw(4))
	x := noise(r, 6000, 1)
	x[1], x[2], x[3] = math.NaN(), math.Inf(1), math.Copysign(0, -1)
	for _, d := range []tensor.DType{tensor.F32, tensor.F64, tensor.BF16, tensor.F16} {
		b.floats(d.String(), d, []int64{60, 100}, x)
		b.floats("exp_avg."+d.String(), d, []int64{60, 100}, x)
	}
	b.add("exp_avg.i16", tensor.I16, []int64{64, 80}, raw(10240))
	nan := b.data[len(b.data)-1:]
	nan[0] ^= 1
	return b.file(t)
}

// TestExactThings asserts that both profiles keep the odd tensors, with and without a base.
func TestExactThings(t *testing.T) {
	for _, p := range []archive.Profile{excpProfile, exactProfile} {
		s := shelf{}
		base := s.seal(t, input(odd(t, 1), p))
		if !bytes.Equal(base.data, odd(t, 1).data) {
			t.Errorf("%s: not exact", p.Name)
		}
		in := input(odd(t, 2), p)
		in.Base = base.file
		if got := s.seal(t, in); !bytes.Equal(got.data, odd(t, 2).data) {
			t.Errorf("%s: not exact with base", p.Name)
		}
		in = input(odd(t, 1), p)
		in.Base = base.file
		w, _ := archive.NewWriter(new(bytes.Buffer))
		_, err := Encode(context.Background(), in, w)
		if own, ok := errors.AsType[*OwnBaseError](err); !ok || own.ID != base.ix.ID {
			t.Errorf("a file against itself: %v", err)
		}
		in.Src = bytes.NewReader(append([]byte("A"), odd(t, 1).data[1:]...)) // another header
		same := s.seal(t, in)
		for _, a := range same.ix.Tensors {
			if want := a.Length > 0; (codec.Method(a.Method) == codec.Same) != want {
				t.Errorf("%s: method %d of an equal tensor", a.Name, a.Method)
			}
		}
	}
}

// TestExactProfile holds the real files and fixtures to the bit, also along a chain.
func TestExactProfile(t *testing.T) {
	m := newModel(t, tensor.BF16, tensor.F32, 3)
	files := [][]plain{{m.base, m.weights}, {m.moments, newModel(t, tensor.BF16, tensor.F32, 4).moments}}
	t.Run("fixtures", func(t *testing.T) { exactChains(t, files) })
	t.Run("real", func(t *testing.T) {
		exactChains(t, [][]plain{
			{chain(t, "dev/checkpoint-500/model.safetensors"), chain(t, "dev/checkpoint-600/model.safetensors")},
			{chain(t, "dev/checkpoint-500/optimizer.safetensors"), chain(t, "dev/checkpoint-600/optimizer.safetensors")},
			{chain(t, "bf16/checkpoint-500/model.safetensors"), chain(t, "bf16/checkpoint-600/model.safetensors")},
		})
	})
}

func exactChains(t *testing.T, files [][]plain) {
	for _, steps := range files {
		s := shelf{}
		var last *sealed
		for _, p := range steps {
			in := input(p, exactProfile)
			if last != nil {
				in.Base = last.file
			}
			got := s.seal(t, in)
			if !bytes.Equal(got.data, p.data) {
				t.Error("profile exact is not")
			}
			t.Logf("%d -> %d bytes", len(p.data), got.bytes)
			last = &got
		}
	}
}
