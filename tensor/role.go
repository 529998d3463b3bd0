package tensor

import "strings"

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
