package decode

import (
	"testing"

	"excpfs/codec"
	"excpfs/tensor"
)

func TestChunks(t *testing.T) {
	const mib = codec.ChunkBytes
	for _, c := range []struct {
		d     tensor.DType
		shape []int64
		bytes int64
		size  int64
		count int64
	}{
		{tensor.F32, nil, 4, mib, 1},
		{tensor.F32, []int64{0, 5}, 0, mib, 0},
		{tensor.F32, []int64{mib / 4}, mib, mib, 1},
		{tensor.F32, []int64{mib/4 + 1}, mib + 4, mib, 2},
		{tensor.F32, []int64{1000, 700}, 2800000, 374 * 2800, 3},
		{tensor.BF16, []int64{1000, 1021}, 2042000, 513 * 2042, 2},
		{tensor.F64, []int64{374, 350}, 1047200, 374 * 2800, 1},
		{tensor.Bool, []int64{mib + 1}, mib + 1, mib, 2},
		{tensor.F4, []int64{3*mib + 1}, 3*mib/2 + 1, mib, 2},
	} {
		i := tensor.Info{DType: c.d, Shape: c.shape, Length: c.bytes}
		if got := ChunkSize(i); got != c.size {
			t.Errorf("%v %v: chunks of %d bytes, want %d", c.d, c.shape, got, c.size)
		}
		if got := ChunkCount(i); got != c.count {
			t.Errorf("%v %v: %d chunks, want %d", c.d, c.shape, got, c.count)
		}
		sum := int64(0)
		for k := range c.count {
			off, n := chunkRange(i, k)
			if off != sum || n <= 0 || n > mib {
				t.Errorf("%v %v: chunk %d is %d+%d", c.d, c.shape, k, off, n)
			}
			sum += n
		}
		if sum != c.bytes {
			t.Errorf("%v %v: chunks hold %d bytes", c.d, c.shape, sum)
		}
	}
}

// The file is 10 verbatim, "a" of two chunks, "e" of none, "b" of 40, 5 verbatim, "c" of 8, no tail.
func TestAt(t *testing.T) {
	const mib = codec.ChunkBytes
	l := &tensor.Layout{Tensors: []tensor.Info{
		{Name: "a", DType: tensor.U8, Shape: []int64{mib + 100}, Offset: 10, Length: mib + 100},
		{Name: "e", DType: tensor.U8, Shape: []int64{0}, Offset: mib + 110},
		{Name: "b", DType: tensor.F32, Shape: []int64{10}, Offset: mib + 110, Length: 40},
		{Name: "e2", DType: tensor.U8, Shape: []int64{0}, Offset: mib + 152},
		{Name: "c", DType: tensor.F64, Shape: nil, Offset: mib + 155, Length: 8},
	}, Size: mib + 163}
	if err := l.Check(); err != nil {
		t.Fatal(err)
	}
	x := newExtents(l)
	for _, c := range []struct {
		off, n int64
		want   piece
	}{
		{0, 1, piece{-1, 0, 0, 1}},
		{0, 10, piece{-1, 0, 0, 10}},
		{0, 11, piece{-1, 0, 0, 10}},
		{9, 100, piece{-1, 0, 9, 1}},
		{10, 1, piece{0, 0, 0, 1}},
		{10, 2 * mib, piece{0, 0, 0, mib}},
		{9 + mib, 5, piece{0, 0, mib - 1, 1}},
		{10 + mib, 5, piece{0, 1, 0, 5}},
		{10 + mib, 500, piece{0, 1, 0, 100}},
		{109 + mib, 500, piece{0, 1, 99, 1}},
		{110 + mib, 40, piece{2, 0, 0, 40}},
		{110 + mib, 41, piece{2, 0, 0, 40}},
		{149 + mib, 41, piece{2, 0, 39, 1}},
		{150 + mib, 13, piece{-1, 0, 10, 2}}, // up to the empty tensor
		{152 + mib, 13, piece{-1, 0, 12, 3}},
		{154 + mib, 9, piece{-1, 0, 14, 1}},
		{155 + mib, 8, piece{4, 0, 0, 8}},
		{162 + mib, 1, piece{4, 0, 7, 1}},
	} {
		if got := x.at(c.off, c.n); got != c.want {
			t.Errorf("%d+%d: got %+v, want %+v", c.off, c.n, got, c.want)
		}
	}
}

func TestAtWithoutTensors(t *testing.T) {
	x := newExtents(&tensor.Layout{Size: 9})
	if got := x.at(3, 6); got != (piece{-1, 0, 3, 6}) {
		t.Errorf("got %+v", got)
	}
}

func TestCopyBits(t *testing.T) {
	src := make(codec.Bitmap, 5)
	for i := range 320 {
		if i*i%7 < 3 {
			src.Set(i)
		}
	}
	for _, i := range []int{0, 1, 31, 63, 64, 65, 127} {
		for _, j := range []int{0, 1, 33, 63, 64, 100, 128} {
			for _, n := range []int{0, 1, 2, 62, 63, 64, 65, 128, 190} {
				dst := make(codec.Bitmap, 5)
				copyBits(dst, i, src, j, n)
				for k := range 320 {
					want := k >= i && k < i+n && src.Get(j+k-i)
					if dst.Get(k) != want {
						t.Fatalf("%d bits from %d to %d: bit %d is %v", n, j, i, k, !want)
					}
				}
			}
		}
	}
}
