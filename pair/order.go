package pair

import (
	"slices"

	"excpfs/tensor"
)

// byOrder settles what the data alone do not tell, foremost norms and biases: the
// parameters of a group follow the modules as these were made. No file says how that
// was, but the pairs that are certain do in part, shapes and the repetition of layers
// in part; what then remains open is chosen by the data of all layers together.
func (s *search) byOrder() error {
	if s.numbersSettled() < 2 {
		return nil
	}
	known := order{}
	_, ok := known.learn(newTree(s.weights, s.trainable()), s.place)
	found := make([][][]int, s.groups)
	lines := s.lineups()
	for g := range lines {
		if ok && lines[g].reason == "" {
			if found[g], lines[g].reason = s.arrange(lines[g], known); lines[g].reason == "" {
				ok = len(found[g]) > 0
			}
		}
	}
	for g := range lines {
		if !ok {
			lines[g].reason = "the numbers do not follow the order of the modules"
		}
		if lines[g].reason != "" {
			s.declineGroup(g, lines[g].reason)
		} else if err := s.judge(lines[g], found[g]); err != nil {
			return err
		}
	}
	return nil
}

// declineGroup gives what is open in a group a reason; that of the data is better.
func (s *search) declineGroup(g int, reason string) {
	for i := range s.params {
		if p := &s.params[i]; p.group == g && p.open() && p.reason == "" {
			p.reason = reason
		}
	}
}

// numbersSettled counts the certain pairs that say something of the order.
func (s *search) numbersSettled() (n int) {
	for w := range s.weights {
		if _, _, ok := s.place(w); ok {
			n++
		}
	}
	return n
}

// place is where the parameter of a weight is, if it goes by number.
func (s *search) place(w int) (group, at int, ok bool) {
	if s.owner[w] == none || tensor.Flat(s.weights[w].Name) || s.params[s.owner[w]].called() != "" {
		return 0, 0, false
	}
	p := s.params[s.owner[w]]
	return p.group, p.place, true
}

func (s *search) trainable() (all []int) {
	for w := range s.weights {
		if trainable(s.weights[w].Name) {
			all = append(all, w)
		}
	}
	return all
}

// lineup is what is to be put in order: the parameters of a group and the weights
// that must be theirs. With a reason it cannot be.
type lineup struct {
	group          int
	slots, weights []int
	reason         string
}

func (s *search) lineups() []lineup {
	all := make([]lineup, s.groups)
	homes, rooms := s.homes(), s.rooms()
	for w := range s.weights {
		if g, _, ok := s.place(w); ok {
			all[g].weights = append(all[g].weights, w)
		}
		if !s.openWeight(w) {
			continue
		}
		home := rooms.home(s.weights[w], homes[template(s.weights[w].Name)])
		if len(home) == 1 {
			all[home[0]].weights = append(all[home[0]].weights, w)
			continue
		}
		for _, g := range home {
			all[g].reason = "several groups have parameters of its shape"
		}
	}
	for g := range all {
		all[g].group = g
		s.fill(&all[g])
	}
	return all
}

// homes are the groups that the settled weights of a template are in.
func (s *search) homes() map[string][]int {
	homes := map[string][]int{}
	for w := range s.weights {
		if g, _, ok := s.place(w); ok {
			if t := template(s.weights[w].Name); !slices.Contains(homes[t], g) {
				homes[t] = append(homes[t], g)
			}
		}
	}
	return homes
}

// rooms are the groups that have open parameters of a shape, or ones of unknown shape.
type rooms struct {
	byShape map[string][]int
	bare    []int
}

func (s *search) rooms() rooms {
	r := rooms{byShape: map[string][]int{}}
	for i := range s.params {
		switch p := &s.params[i]; {
		case !p.moments():
			r.bare = add(r.bare, p.group)
		case p.open():
			r.byShape[shape(p.Shape)] = add(r.byShape[shape(p.Shape)], p.group)
		}
	}
	return r
}

// add appends what is not there yet.
func add(all []int, one int) []int {
	if slices.Contains(all, one) {
		return all
	}
	return append(all, one)
}

// home lists the groups that an open weight may be in: that of the same weight in
// other layers, else those that have room for its shape.
func (r rooms) home(w Weight, like []int) []int {
	fit := r.byShape[shape(w.Shape)]
	if len(like) == 1 && (slices.Contains(fit, like[0]) || slices.Contains(r.bare, like[0])) {
		return like
	}
	if len(fit) > 0 {
		return fit
	}
	return r.bare
}

// fill lists the parameters of a group. Those that no weight fits are no part of it;
// those without moments, and weights of layers that are not trained, only if the
// numbers are equal with them.
func (s *search) fill(l *lineup) {
	fit := map[string]bool{}
	for _, w := range l.weights {
		if s.owner[w] == none {
			fit[shape(s.weights[w].Shape)] = true
		}
	}
	var filled []int
	for i := range s.params {
		switch p := &s.params[i]; {
		case p.group != l.group:
		case !p.moments():
			l.slots = append(l.slots, i)
		case p.called() != "":
			l.reason = "no weight has its name"
		case p.weight != none || fit[shape(p.Shape)]:
			l.slots, filled = append(l.slots, i), append(filled, i)
		}
	}
	if l.reason != "" {
		return
	}
	for _, weights := range [][]int{l.weights, s.trained(l.weights)} {
		for _, slots := range [][]int{l.slots, filled} {
			if len(slots) == len(weights) {
				l.slots, l.weights = slots, weights
				return
			}
		}
	}
	l.reason = "its group has another number of parameters than there are weights for it"
}

// trained leaves out the layers none of whose weights is settled.
func (s *search) trained(weights []int) []int {
	warm := map[string]bool{}
	for w := range s.weights {
		if _, _, ok := s.place(w); ok {
			for name := instance(s.weights[w].Name); name != "" && !warm[name]; name = instance(parent(name)) {
				warm[name] = true
			}
		}
	}
	return slices.DeleteFunc(slices.Clone(weights), func(w int) bool {
		in := instance(s.weights[w].Name)
		return in != "" && !warm[in]
	})
}
