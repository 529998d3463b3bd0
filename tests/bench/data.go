package main

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strconv"
	"strings"
)

// checkpoints lists the folders of the chain in order.
func (b *bench) checkpoints() ([]string, error) {
	list, err := filepath.Glob(filepath.Join(b.chain, "checkpoint-*"))
	if err == nil && len(list) < 2 {
		err = fmt.Errorf("%s has fewer than two checkpoints", b.chain)
	}
	step := func(p string) int {
		n, _ := strconv.Atoi(strings.TrimPrefix(filepath.Base(p), "checkpoint-"))
		return n
	}
	sort.Slice(list, func(i, j int) bool { return step(list[i]) < step(list[j]) })
	return list, err
}

// tile writes a file with the tensors of a real one, each matrix as many times as large as
// brings the file to about size: copies of it side by side and one below the other, the
// columns of each in another order and its values a little larger, the same in every file. So
// rows, columns and their residuals are real, matrices as large as a real model's, and nothing
// stands twice.
// The step goes into the metadata, so that no two files are equal.
func tile(src, dest string, size int64, step int) error {
	raw, err := os.ReadFile(src)
	if err != nil {
		return err
	}
	n := binary.LittleEndian.Uint64(raw)
	var header map[string]json.RawMessage
	if err := json.Unmarshal(raw[8:8+n], &header); err != nil {
		return err
	}
	delete(header, "__metadata__")
	data := raw[8+n:]
	times := max(1, int64(math.Sqrt(float64(size)/float64(len(data)))))
	tensors, head, err := tileHeader(header, times, step)
	if err != nil {
		return err
	}
	f, err := os.Create(dest)
	if err != nil {
		return err
	}
	defer f.Close()
	w := bufio.NewWriterSize(f, 1<<20)
	w.Write(binary.LittleEndian.AppendUint64(nil, uint64(len(head))))
	w.Write(head)
	for _, t := range tensors {
		t.tile(w, data[t.Offsets[0]:t.Offsets[1]], times)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	return f.Close()
}

type tensorInfo struct {
	DType   string   `json:"dtype"`
	Shape   []int64  `json:"shape"`
	Offsets [2]int64 `json:"data_offsets"`
}

// tileHeader gives the tensors in file order, and the header of the large file.
func tileHeader(header map[string]json.RawMessage, times int64, step int) ([]tensorInfo, []byte, error) {
	names := map[int64]string{}
	var tensors []tensorInfo
	for name, raw := range header {
		var t tensorInfo
		if err := json.Unmarshal(raw, &t); err != nil {
			return nil, nil, err
		}
		names[t.Offsets[0]] = name
		tensors = append(tensors, t)
	}
	sort.Slice(tensors, func(i, j int) bool { return tensors[i].Offsets[0] < tensors[j].Offsets[0] })
	out, at := map[string]any{"__metadata__": map[string]string{"step": strconv.Itoa(step)}}, int64(0)
	for _, t := range tensors {
		large := tensorInfo{DType: t.DType, Shape: slices.Clone(t.Shape)}
		length := t.Offsets[1] - t.Offsets[0]
		if len(t.Shape) == 2 {
			large.Shape = []int64{t.Shape[0] * times, t.Shape[1] * times}
			length *= times * times
		}
		large.Offsets = [2]int64{at, at + length}
		at += length
		out[names[t.Offsets[0]]] = large
	}
	head, err := json.Marshal(out)
	for len(head)%8 != 0 {
		head = append(head, ' ')
	}
	return tensors, head, err
}

// tile writes one tensor; errors show when w is flushed.
func (t tensorInfo) tile(w io.Writer, data []byte, times int64) {
	if len(t.Shape) != 2 || len(data) == 0 {
		w.Write(data)
		return
	}
	rows, cols := int(t.Shape[0]), int(t.Shape[1])
	width := len(data) / rows / cols
	row := make([]byte, cols*width)
	for below := range times {
		orders := make([][]int, times)
		for beside := range orders {
			orders[beside] = rand.New(rand.NewPCG(uint64(below), uint64(beside))).Perm(cols)
		}
		for r := range rows {
			from := data[r*len(row):]
			for beside, order := range orders {
				for c, o := range order {
					copy(row[c*width:(c+1)*width], from[o*width:])
				}
				if t.DType == "F32" {
					scale(row, 1+float32(below*times+int64(beside))/64)
				}
				w.Write(row)
			}
		}
	}
}

func scale(row []byte, by float32) {
	for i := 0; i < len(row); i += 4 {
		x := math.Float32frombits(binary.LittleEndian.Uint32(row[i:]))
		binary.LittleEndian.PutUint32(row[i:], math.Float32bits(x*by))
	}
}

// lastTensor finds the last tensor of at least 64 KiB, or its first MiB.
func lastTensor(path string) (at, size int64, err error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, 0, err
	}
	defer f.Close()
	var n uint64
	if err := binary.Read(f, binary.LittleEndian, &n); err != nil {
		return 0, 0, err
	}
	var header map[string]json.RawMessage
	if err := json.NewDecoder(io.LimitReader(f, int64(n))).Decode(&header); err != nil {
		return 0, 0, err
	}
	for _, raw := range header {
		var t tensorInfo
		json.Unmarshal(raw, &t)
		if n := t.Offsets[1] - t.Offsets[0]; n >= 64<<10 && t.Offsets[0] >= at {
			at, size = t.Offsets[0], min(n, 1<<20)
		}
	}
	return at + 8 + int64(n), size, nil
}
