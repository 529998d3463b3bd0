package pair

import (
	"math"
	"slices"
)

// holds is the least score of a pair that was found earlier, in what independent
// values would give: by chance one in ten thousand has it.
const holds = 4

// remembered takes the pairs that were found earlier where they still hold: the shapes
// are equal, and moments of a matrix follow its change. Vectors hold where all
// matrices do.
func (s *search) remembered(known map[string]string) error {
	byName := map[string]int{}
	for w := range s.weights {
		byName[s.weights[w].Name] = w
	}
	var matrices, vectors [][2]int
	taken, all := map[int]bool{}, true
	for i := range s.params {
		name, ok := known[s.params[i].Key]
		w, there := byName[name]
		switch {
		case !ok || !s.params[i].open():
		case !there || taken[w] || s.owner[w] != none || !slices.Equal(s.weights[w].Shape, s.params[i].Shape):
			all = false
		case len(s.weights[w].Shape) > 1 && s.weights[w].Residual != nil:
			matrices = append(matrices, [2]int{i, w})
			taken[w] = true
		default:
			vectors = append(vectors, [2]int{i, w})
			taken[w] = true
		}
	}
	z := make([]float64, len(matrices))
	err := parallel(len(matrices), func(i int) error {
		c, err := s.compare(matrices[i][0], matrices[i][1], knownElems)
		z[i] = c.z()
		if c.n == 0 {
			z[i] = holds
		}
		return err
	})
	if err != nil {
		return err
	}
	atLeast := needed(z)
	for i, pair := range matrices {
		if z[i] >= atLeast {
			s.settle(pair[0], pair[1])
		}
		all = all && z[i] >= atLeast
	}
	if all, err = s.follow(vectors, all); err != nil || !all {
		return err
	}
	for _, pair := range vectors {
		s.settle(pair[0], pair[1])
	}
	return nil
}

// follow reports whether vectors, together, follow the weights they were paired with, as far as
// there is anything to compare.
func (s *search) follow(pairs [][2]int, all bool) (bool, error) {
	var total score
	for _, pair := range pairs {
		if !all || s.weights[pair[1]].Residual == nil {
			continue
		}
		c, err := s.compare(pair[0], pair[1], knownElems)
		if err != nil {
			return false, err
		}
		total.sum, total.n = total.sum+c.sum, total.n+c.n
	}
	return all && (total.n == 0 || total.z() >= trust), nil
}

// needed is what a pair's score must be. Where changes are faint next to noise many pairs fall short of what one
// alone must have: they hold together where their sum does, but for those that speak against it.
func needed(z []float64) float64 {
	sum, n := 0.0, 0
	for _, v := range z {
		if v < holds {
			sum, n = sum+v, n+1
		}
	}
	if n > 1 && sum >= holds*math.Sqrt(float64(n)) {
		return 0
	}
	return holds
}

// knownElems of a tensor are enough to confirm what was found before.
const knownElems = 16 << 10
