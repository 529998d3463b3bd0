package codec

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/klauspost/compress/fse"
)

// Loops that are written for speed, against their plainest form.

// decodePlain is decode for any number of states.
func (t *fseTable) decodePlain(dst, src []byte, states int) error {
	var stream []byte // bits, in the order they are read
	for _, b := range slices.Backward(src) {
		for i := range 8 {
			stream = append(stream, b>>(7-i)&1)
		}
	}
	end := bytes.IndexByte(stream, 1)
	if end < 0 || end > 7 {
		return errors.New("no end")
	}
	stream = stream[end+1:]
	over := false
	get := func(n int) (v uint32) {
		for range n {
			if v <<= 1; len(stream) == 0 {
				over = true
				continue
			}
			v |= uint32(stream[0])
			stream = stream[1:]
		}
		return v
	}
	s := make([]uint32, states)
	for i := range s {
		s[i] = get(int(t.log))
	}
	for i := range dst {
		c := t.cells[s[i%states]]
		dst[i] = byte(c >> 12)
		if i+states < len(dst) {
			s[i%states] = uint32(c>>20) + get(int(c&63))
		}
	}
	if over || len(stream) > 0 {
		return errors.New("not at the end")
	}
	return nil
}

// skewed is n symbols of which some are rare.
func skewed(seed uint64, n, kinds int) []byte {
	r := rand.New(rand.NewPCG(seed, 1))
	p := make([]byte, n)
	for i := range p {
		p[i] = byte(float64(kinds) * r.Float64() * r.Float64() * r.Float64())
	}
	return p
}

func FuzzFSE(f *testing.F) {
	var e fseEncoder
	for i, n := range []int{40, 41, 42, 43, 1000, 9999} {
		src, t := skewed(uint64(i), n, 3+7*i), new(fseTable)
		p, err := fse.Compress(src, new(fse.Scratch))
		if err != nil {
			f.Fatal(err)
		}
		stream, err := t.read(p)
		if err != nil {
			f.Fatal(err)
		}
		// The library's own stream, of two states, tells whether the table is right.
		got := make([]byte, n)
		if err := t.decodePlain(got, stream, 2); err != nil || !bytes.Equal(got, src) {
			f.Fatalf("%d bytes: %v", n, err)
		}
		p = e.append(p[:len(p)-len(stream)], src, t)
		f.Add(uint16(n), p)
		f.Add(uint16(n-1), p)
	}
	f.Fuzz(func(t *testing.T, n uint16, p []byte) {
		var table fseTable
		stream, err := table.read(p)
		if err != nil {
			return
		}
		a, b := make([]byte, n), make([]byte, n)
		err, perr := table.decode(a, stream), table.decodePlain(b, stream, fseStates)
		if (err == nil) != (perr == nil) || err == nil && !bytes.Equal(a, b) {
			t.Fatalf("fast: %v, plain: %v", err, perr)
		}
		if err != nil || n < fseStates {
			return
		}
		var e fseEncoder
		if err := table.decode(b, e.append(nil, a, &table)); err != nil || !bytes.Equal(a, b) {
			t.Fatalf("encoded again: %v", err)
		}
	})
}

func TestMergeFast(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	random := func(n int) []byte {
		p := make([]byte, n)
		for i := range p {
			p[i] = byte(r.Uint32())
		}
		return p
	}
	for _, k := range []kind{{1, false}, {2, true}, {2, false}, {4, true}, {4, false}, {8, true}} {
		for _, n := range []int{0, 1, 15, 16, 17, 100, 1000, 4097} {
			planes, base := random(n*k.width), random(n*k.width)
			got, want := make([]byte, n*k.width), make([]byte, n*k.width)
			merge(got, planes, k)
			mergeFrom(0, want, planes, k)
			if !bytes.Equal(got, want) {
				t.Errorf("merge of %d of %v", n, k)
			}
			split(want, got, k)
			if !bytes.Equal(want, planes) {
				t.Errorf("split of %d of %v", n, k)
			}
			sumFrom(0, want, base, planes, k)
			mergeDifferences(base, base, planes, k)
			if !bytes.Equal(base, want) {
				t.Errorf("sum of %d of %v", n, k)
			}
		}
	}
}

func TestAnyFrom(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	for range 20000 {
		p := make([]byte, r.IntN(30))
		most := 1 + r.IntN(256)
		for i := range p {
			p[i] = byte(r.IntN(most))
		}
		for _, n := range []int{0, 1, 15, 127, 128, 129, 255, most - 1, most & 255} {
			if want := len(p) > 0 && int(maxByte(p)) >= n; anyFrom(p, uint8(n)) != want {
				t.Fatalf("%v from %d: %v", p, n, !want)
			}
		}
	}
}
