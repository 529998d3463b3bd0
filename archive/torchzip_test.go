package archive

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"slices"

	"excpfs/tensor"
)

// torchIndex is the index of a zip as PyTorch writes it, of n storages of rows x 8
// elements, in the order of their numbers or of these as texts.
func torchIndex(n int, rows int64, align int64, byText bool) *Index {
	ix := &Index{Format: "torch"}
	z := torchZip{ix: ix, align: align}
	z.record("big/data.pkl", torchPickle(n, rows), nil)
	var keys []string
	for i := range n {
		keys = append(keys, fmt.Sprint(i))
	}
	if byText {
		slices.Sort(keys)
	}
	for _, k := range keys {
		t := tensor.Info{Name: k, DType: tensor.F32, Shape: []int64{rows, 8}, Length: rows * 32}
		z.record("big/data/"+k, nil, &t)
	}
	z.record("big/version", []byte("3\n"), nil)
	z.end()
	return ix
}

// torchPickle is a list of n tensors.
func torchPickle(n int, rows int64) []byte {
	p := []byte("\x80\x02]q\x00(")
	puts := 1
	add := func(t token) { p = t.append(p) }
	put := func() {
		add(memoToken(opPut1, opPut4, uint64(puts)))
		puts++
	}
	op := func(s string) { p = append(p, s...) }
	number := func(v int64) { add(intToken(v)) }
	text := func(s string) { add(token{'X', []byte(s)}); put() }
	for i := range n {
		if i == 0 {
			op("ctorch._utils\n_rebuild_tensor_v2\n")
			put()
			op("((")
			text("storage")
			op("ctorch\nFloatStorage\n")
			put()
		} else {
			op("h\x01((h\x02h\x03")
		}
		text(fmt.Sprint(i))
		if i == 0 {
			text("cpu")
		} else {
			op("h\x05")
		}
		number(rows * 8)
		op("t")
		put()
		op("Q")
		number(0)
		number(rows)
		number(8)
		op("\x86")
		put()
		number(8)
		number(1)
		op("\x86")
		put()
		op("\x89Nt")
		put()
		op("R")
		put()
	}
	return append(p, "e."...)
}

type torchZip struct {
	ix    *Index
	align int64
	dir   []byte
	n     uint64
}

func (z *torchZip) add(p []byte) {
	z.ix.Verbatim = append(z.ix.Verbatim, p...)
	z.ix.Size += int64(len(p))
}

// record writes verbatim bytes or a tensor.
func (z *torchZip) record(name string, p []byte, x *tensor.Info) {
	offset, size := uint64(z.ix.Size), uint64(len(p))
	sum := crc32.ChecksumIEEE([]byte(name))
	if x != nil {
		size = uint64(x.Length)
	}
	t := part{num: [16]uint64{0, 0x808}, text: [3][]byte{[]byte(name), zip64(offset)}}
	pad := -(int64(offset) + int64(localLength+len(name)+len(t.text[1])+4)) & (z.align - 1)
	t.text[1] = append(le.AppendUint16(append(t.text[1], "FB"...), uint16(pad)), bytes.Repeat([]byte("Z"), int(pad))...)
	z.add(t.append(nil, segLocal))
	z.add(p)
	if x != nil {
		x.Offset = z.ix.Size
		z.ix.Size += x.Length
		z.ix.Tensors = append(z.ix.Tensors, Tensor{Info: *x, Base: -1, Weights: -1, Support: -1})
	}
	kind := uint8(segDescriptor)
	if size >= max32 {
		kind = segDescriptor64
	}
	z.add((&part{num: [16]uint64{uint64(sum), size, size}}).append(nil, kind))
	c := part{num: [16]uint64{0, 0, 0x808, 0, 0, 0, uint64(sum), min(size, max32), min(size, max32), centralOffset: min(offset, max32)},
		text: [3][]byte{[]byte(name), zip64(size, size, offset)}}
	z.dir = c.append(z.dir, segCentral)
	z.n++
}

func (z *torchZip) end() {
	dir, length, at := uint64(z.ix.Size), uint64(len(z.dir)), z.ix.Size+int64(len(z.dir))
	z.add(z.dir)
	z.add((&part{num: [16]uint64{44, 0x31e, 45, 0, 0, z.n, z.n, length, dir}}).append(nil, segEnd64))
	z.add((&part{num: [16]uint64{0, uint64(at), 1}}).append(nil, segLocator))
	z.add((&part{num: [16]uint64{0, 0, min(z.n, max16), min(z.n, max16), min(length, max32), min(dir, max32)}}).append(nil, segEnd))
}

// legacyIndex is what a legacy file has between its storages.
func legacyIndex(n int) *Index {
	ix := &Index{Format: "torch-legacy", Verbatim: torchPickle(n, 3)}
	ix.Size = int64(len(ix.Verbatim))
	for i := range n {
		ix.Verbatim = binary.LittleEndian.AppendUint64(ix.Verbatim, 24)
		t := tensor.Info{Name: fmt.Sprint(i), DType: tensor.F32, Shape: []int64{3, 8}, Offset: ix.Size + 8, Length: 96}
		ix.Size = t.Offset + t.Length
		ix.Tensors = append(ix.Tensors, Tensor{Info: t, Base: -1, Weights: -1, Support: -1})
	}
	return ix
}
