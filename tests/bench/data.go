package main

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
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

// tile writes a file that holds the tensors of a real one many times over under
// other names: each tensor has real statistics, the file the size of a real model.
// The step goes into its metadata, so that no two files are equal.
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
	copies := max(1, int(size/int64(len(data))))
	tiled := tileHeader(header, copies, int64(len(data)))
	tiled["__metadata__"] = map[string]string{"step": strconv.Itoa(step)}
	head, err := json.Marshal(tiled)
	if err != nil {
		return err
	}
	for len(head)%8 != 0 {
		head = append(head, ' ')
	}
	f, err := os.Create(dest)
	if err != nil {
		return err
	}
	defer f.Close()
	f.Write(binary.LittleEndian.AppendUint64(nil, uint64(len(head))))
	f.Write(head)
	for range copies {
		if _, err := f.Write(data); err != nil {
			return err
		}
	}
	return f.Close()
}

type tensorInfo struct {
	DType   string   `json:"dtype"`
	Shape   []int64  `json:"shape"`
	Offsets [2]int64 `json:"data_offsets"`
}

func tileHeader(header map[string]json.RawMessage, copies int, length int64) map[string]any {
	out := map[string]any{}
	for c := range int64(copies) {
		for name, raw := range header {
			var t tensorInfo
			json.Unmarshal(raw, &t)
			t.Offsets[0] += c * length
			t.Offsets[1] += c * length
			out[copyName(name, c)] = t
		}
	}
	return out
}

// copyName keeps the moment's prefix in front, which pairs it with its weight.
func copyName(name string, c int64) string {
	for _, prefix := range []string{"exp_avg.", "exp_avg_sq.", "step."} {
		if rest, ok := strings.CutPrefix(name, prefix); ok {
			return fmt.Sprintf("%scopy%d.%s", prefix, c, rest)
		}
	}
	return fmt.Sprintf("copy%d.%s", c, name)
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
