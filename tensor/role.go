package tensor

import (
	"slices"
	"strings"
)

// Role is the part a tensor plays in a training state.
type Role uint8

// The roles, in the words of PyTorch's Adam.
const (
	Weight   Role = iota // anything that is not a moment
	ExpAvg               // first moment
	ExpAvgSq             // second moment
)

func (r Role) String() string { return [...]string{"weight", "exp_avg", "exp_avg_sq"}[r] }

var moments = []struct {
	word string
	role Role
}{{"exp_avg", ExpAvg}, {"exp_avg_sq", ExpAvgSq}}

// RoleOf splits a tensor's name into its role and the name of the weight it
// belongs to: exp_avg.NAME, optimizer.state.NAME.exp_avg, state.NAME.exp_avg
// and the like for both moments. Any other name is the weight itself.
func RoleOf(name string) (Role, string) {
	for _, m := range moments {
		if w, ok := strings.CutPrefix(name, m.word+"."); ok {
			return m.role, w
		}
		if w, ok := strings.CutSuffix(name, "."+m.word); ok {
			for _, p := range []string{"optimizer.state.", "optim.state.", "optimizer.", "optim.", "state."} {
				if r, cut := strings.CutPrefix(w, p); cut {
					w = r
					break
				}
			}
			return m.role, w
		}
	}
	return Weight, name
}

// kept are the words by which optimizers name what they keep beside Adam's two moments
// (torch.optim, transformers.Adafactor, bitsandbytes).
var kept = map[string]bool{
	"step": true, "max_exp_avg_sq": true, "momentum_buffer": true, "square_avg": true, "grad_avg": true, "acc_delta": true,
	"exp_inf": true, "exp_avg_sq_row": true, "exp_avg_sq_col": true, "state1": true, "state2": true,
}

// OptimizerState reports whether a tensor that is no moment is something else that an
// optimizer keeps: it is named by one of their words, or stands in the state of a
// parameter: of one with a number, or of one with a name where it is an optimizer's, or its
// word is none for a weight. Such tensors are no weights: a root is taken of some of them.
func OptimizerState(name string) bool {
	parts := strings.Split(name, ".")
	last := parts[len(parts)-1]
	for i, p := range parts {
		switch {
		case kept[p]:
			return true
		case p != "state" || i+2 >= len(parts):
		case number(parts[i+1]), i > 0 && strings.Contains(parts[i-1], "optim"), i == 0 && last != "weight" && last != "bias":
			return true
		}
	}
	return false
}

// Named reports whether a name tells anything: numbers are only places in files and lists.
func Named(name string) bool { return !number(strings.ReplaceAll(name, ".", "")) }

func number(s string) bool {
	return s != "" && strings.Trim(s, "0123456789") == ""
}

// flat are the words by which buffers that hold many parameters one after another are
// named (DeepSpeed ZeRO 1 and 2, ZeRO 3, PyTorch FSDP).
var flat = map[string]bool{
	"single_partition_of_fp32_groups": true, "fp32_flat_groups": true, "flat_param": true, "_flat_param": true,
}

// Flat reports whether a tensor of one dimension holds weights of more.
func Flat(name string) bool {
	return slices.ContainsFunc(strings.Split(name, "."), func(p string) bool { return flat[p] })
}
