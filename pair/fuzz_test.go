package pair

import (
	"context"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// Any names, shapes and groups: each parameter with moments has one weight of its
// shape or a reason, no weight has two, and a second search says the same.
func FuzzFind(f *testing.F) {
	f.Add("a.weight 8x8|a.bias 8|b.weight 8x8|b.bias 8", "0 1 2 3", "", uint8(0))
	f.Add("l.0.q 64x64|l.0.n 64|l.1.q 64x64|l.1.n 64|l.2.q 64x64|l.2.n 64|n 64", "0 2 4/1 3 5 6", "", uint8(0))
	f.Add("l.0.q 64x64|l.0.n 64|l.1.q 64x64|l.1.n 64|n 64", "0 2 9/1 3 4", "3", uint8(2))
	f.Add("a 70|o.fp32_flat_groups.0 70||.x 3|. 4|a 4|a.b 4", "5 4/3 2 1 0", "1 0", uint8(1))
	f.Fuzz(func(t *testing.T, text, order, known string, mode uint8) {
		if len(text) > 2000 || len(order) > 400 {
			return
		}
		var s state
		for i, line := range strings.Split(text, "|") {
			name, dims, _ := strings.Cut(line, " ")
			w := Weight{Name: name}
			for _, d := range strings.Split(dims, "x") {
				n, _ := strconv.ParseInt(d, 10, 16)
				w.Shape = append(w.Shape, n%200)
			}
			if mode&1 == 0 || i%3 > 0 {
				w.Residual = reader(func(at uint64) float64 { return 0.4*value(uint64(2*i), at) + value(uint64(2*i+1), at) })
			}
			s.weights = append(s.weights, w)
		}
		for _, part := range strings.Split(order, "/") {
			var g Group
			for _, field := range strings.Fields(part) {
				i, _ := strconv.ParseUint(field, 10, 16)
				p := Param{Key: field}
				if int(i) < len(s.weights) {
					p.Shape = s.weights[i].Shape
					p.ExpAvg = reader(func(at uint64) float64 { return -value(2*i, at) })
					p.ExpAvgSq = reader(func(uint64) float64 { return 1 })
				}
				if mode&2 > 0 && i%2 > 0 && int(i) < len(s.weights) {
					p.Name = "module." + s.weights[i].Name
				}
				g = append(g, p)
			}
			s.groups = append(s.groups, g)
		}
		memory := map[string]string{}
		for i, field := range strings.Fields(known) {
			memory[field] = s.weights[i%len(s.weights)].Name
		}
		s.consistent(t, memory)
	})
}

func (s state) consistent(t *testing.T, known map[string]string) {
	r := s.find(t, known)
	again, err := Find(context.Background(), s.weights, s.groups, known)
	if err != nil || !reflect.DeepEqual(r, again) {
		t.Fatalf("%v, then %v, %v", r, again, err)
	}
	declined, used := map[string]bool{}, map[string]bool{}
	for _, d := range r.Declined {
		if declined[d.Key] || d.Reason == "" {
			t.Errorf("declined: %v", d)
		}
		declined[d.Key] = true
	}
	seen := map[string]bool{}
	for _, p := range slices.Concat(s.groups...) {
		name, ok := r.Weights[p.Key]
		if seen[p.Key] {
			continue
		}
		seen[p.Key] = true
		if p.ExpAvg == nil && !ok && !declined[p.Key] {
			continue
		}
		if ok == declined[p.Key] {
			t.Errorf("%s: paired %v, declined %v", p.Key, ok, declined[p.Key])
		}
		if !ok {
			continue
		}
		at := slices.IndexFunc(s.weights, func(w Weight) bool { return w.Name == name })
		if used[name] || at < 0 || !slices.Equal(s.weights[at].Shape, p.Shape) {
			t.Errorf("%s %v belongs to %s, used before: %v", p.Key, p.Shape, name, used[name])
		}
		used[name] = true
	}
}
