package tensor

import "testing"

func TestRoleOf(t *testing.T) {
	for _, c := range []struct {
		name   string
		role   Role
		weight string
	}{
		{"exp_avg.layers.0.weight", ExpAvg, "layers.0.weight"},
		{"exp_avg_sq.layers.0.weight", ExpAvgSq, "layers.0.weight"},
		{"optimizer.state.w.exp_avg", ExpAvg, "w"},
		{"optim.state.w.exp_avg_sq", ExpAvgSq, "w"},
		{"optimizer.w.exp_avg", ExpAvg, "w"},
		{"optim.w.exp_avg", ExpAvg, "w"},
		{"state.w.exp_avg_sq", ExpAvgSq, "w"},
		{"w.exp_avg", ExpAvg, "w"},
		{"state.state.w.exp_avg", ExpAvg, "state.w"},
		{"layers.0.weight", Weight, "layers.0.weight"},
		{"state.w", Weight, "state.w"},
		{"step.w", Weight, "step.w"},
		{"exp_avg", Weight, "exp_avg"},
		{"exp_avgs.w", Weight, "exp_avgs.w"},
		{"max_exp_avg_sq.w", Weight, "max_exp_avg_sq.w"},
		{"", Weight, ""},
	} {
		if r, w := RoleOf(c.name); r != c.role || w != c.weight {
			t.Errorf("%q: %v of %q, want %v of %q", c.name, r, w, c.role, c.weight)
		}
	}
	if s := Weight.String() + " " + ExpAvg.String() + " " + ExpAvgSq.String(); s != "weight exp_avg exp_avg_sq" {
		t.Error(s)
	}
}
