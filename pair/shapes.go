package pair

// byShape settles what nothing but a shape tells, where only one weight and one
// parameter have it, and says of the rest why it is left.
func (s *search) byShape() error {
	for _, c := range s.classes(s.anyWeight, s.withMoments) {
		for _, p := range c.params {
			if !s.params[p].open() || s.params[p].called() != "" {
				continue
			}
			if len(c.weights) == 1 && len(c.params) == 1 {
				if err := s.lone(p, c.weights[0]); err != nil {
					return err
				}
			} else if s.params[p].reason == "" {
				s.decline(p, "%s", s.why(c))
			}
		}
	}
	return nil
}

// lone settles the only two of a shape unless the data speak against it.
func (s *search) lone(p, w int) error {
	c, err := s.compare(p, w, sampleElems)
	if err != nil {
		return err
	}
	if c.denies() {
		s.decline(p, "its moments do not follow the change of %s, the only weight of its shape", s.weights[w].Name)
		return nil
	}
	s.settle(p, w)
	return nil
}

// compare scores a parameter with a weight by up to limit elements of each.
func (s *search) compare(p, w int, limit int64) (score, error) {
	if s.weights[w].Residual == nil {
		return score{}, nil
	}
	plan := newPlan(s.weights[w].Shape, limit)
	change, err := plan.residual(s.ctx, s.weights[w].Residual)
	if err != nil {
		return score{}, err
	}
	direction, err := plan.direction(s.ctx, s.params[p].ExpAvg, s.params[p].ExpAvgSq)
	return compare(direction, change), err
}

func (s *search) why(c class) string {
	for _, w := range c.weights {
		if s.weights[w].Residual != nil {
			return "several weights have its shape"
		}
	}
	if len(c.weights) == 0 {
		return "no weight has its shape"
	}
	return "several weights have its shape and no base is known to verify them with"
}
