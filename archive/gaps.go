package archive

import "sort"

// gaps relates the verbatim bytes, which are counted without what lies between
// them, to the file and its tensors.
type gaps struct {
	ts     []Tensor
	at     []int64 // how many verbatim bytes come before each tensor
	before []int64 // the lengths of the tensors before, and of all
	size   int64   // verbatim bytes
}

func newGaps(ts []Tensor, fileSize int64) *gaps {
	g := &gaps{ts: ts, at: make([]int64, len(ts)), before: make([]int64, len(ts)+1)}
	sum := int64(0)
	for i := range ts {
		g.at[i] = ts[i].Offset - sum
		sum += ts[i].Length
		g.before[i+1] = sum
	}
	g.size = fileSize - sum
	return g
}

// tensors is the number of tensors that come before verbatim byte i.
func (g *gaps) tensors(i int64) int {
	return sort.Search(len(g.at), func(k int) bool { return g.at[k] > i })
}

// begin is the offset in the file of verbatim byte i.
func (g *gaps) begin(i int64) int64 { return i + g.before[g.tensors(i)] }

// end is where in the file the first i verbatim bytes end: before the tensors that follow them.
func (g *gaps) end(i int64) int64 { return i + g.before[g.tensors(i-1)] }

// tensor is the first one that follows right after the first i verbatim bytes; nil: none does.
func (g *gaps) tensor(i int64) *Tensor {
	if k := g.tensors(i - 1); k < len(g.at) && g.at[k] == i {
		return &g.ts[k]
	}
	return nil
}

// edge is where the gap that verbatim byte i is in ends.
func (g *gaps) edge(i int64) int64 {
	if k := g.tensors(i); k < len(g.at) {
		return g.at[k]
	}
	return g.size
}
