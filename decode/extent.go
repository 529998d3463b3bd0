package decode

import (
	"sort"

	"excpfs/codec"
	"excpfs/tensor"
)

// ChunkSize is the number of bytes in every chunk of a tensor but the last.
func ChunkSize(t tensor.Info) int64 {
	return codec.ChunkElems(t.DType, t.Shape) * int64(t.DType.Width())
}

// ChunkCount is the number of chunks of a tensor.
func ChunkCount(t tensor.Info) int64 {
	if t.Length == 0 {
		return 0
	}
	return (t.Length-1)/ChunkSize(t) + 1
}

// chunkRange gives the bytes of chunk k within the payload of its tensor.
func chunkRange(t tensor.Info, k int64) (off, n int64) {
	s := ChunkSize(t)
	return k * s, min(s, t.Length-k*s)
}

// extents finds what lies at an offset of a file.
type extents struct {
	size    int64
	tensors []tensor.Info
	payload []int64 // bytes of the tensors before tensor i, which are not verbatim
}

func newExtents(l *tensor.Layout) extents {
	x := extents{size: l.Size, tensors: l.Tensors, payload: make([]int64, len(l.Tensors)+1)}
	for i, t := range l.Tensors {
		x.payload[i+1] = x.payload[i] + t.Length
	}
	return x
}

// piece is a range of a file that lies in one chunk, or in the verbatim bytes.
type piece struct {
	tensor int   // -1: verbatim
	chunk  int64 // of the tensor
	off    int64 // in the chunk, or in all verbatim bytes
	n      int64
}

// at returns the first piece of the n > 0 bytes at off, all inside the file.
func (x *extents) at(off, n int64) piece {
	i := sort.Search(len(x.tensors), func(i int) bool {
		return x.tensors[i].Offset+x.tensors[i].Length > off
	})
	end := x.size
	if i < len(x.tensors) {
		t := x.tensors[i]
		if t.Offset <= off {
			k := (off - t.Offset) / ChunkSize(t)
			at, length := chunkRange(t, k)
			off -= t.Offset + at
			return piece{tensor: i, chunk: k, off: off, n: min(n, length-off)}
		}
		end = t.Offset
	}
	return piece{tensor: -1, off: off - x.payload[i], n: min(n, end-off)}
}
