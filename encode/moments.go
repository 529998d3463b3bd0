package encode

import (
	"context"

	"excpfs/codec"
	"excpfs/tensor"
)

// stat is what one pass over a moment tells.
type stat struct {
	tally
	values []float32 // all distinct non-zero values where they are few
	few    bool
	minus  bool // there is a -0 beside the few
	narrow bool // float32 holds every element
}

func (e *encoder) stat(ctx context.Context, i int) (stat, error) {
	return e.stats[i].get(func() (stat, error) {
		s := e.scratch()
		defer e.release(s)
		st := stat{tally: newTally(), narrow: true}
		found := distinct{limit: e.limit}
		err := e.each(ctx, i, func(sp span) error {
			if err := e.readOrig(s, i, sp); err != nil {
				return err
			}
			s.floats(s.orig, e.tensors[i].DType)
			st.add(s.x)
			if !found.many {
				found.add(s.x)
				st.narrow = st.narrow && narrow(s.orig, s.x, e.tensors[i].DType)
			}
			return nil
		})
		st.values, st.few, st.minus = found.values, !found.many, found.minus
		return st, err
	})
}

// exactOnly says that a codebook could not hold the tensor as it should be.
func (st *stat) exactOnly() bool { return !st.finite || st.few && (st.minus || !st.narrow) }

// planMoments plans moments that share a support, into plans.
func (e *encoder) planMoments(ctx context.Context, weight string, members []int, plans map[int]*plan) error {
	t := e.tensors[members[0]]
	m := &moments{e: e, members: members, d: t.DType, grid: codec.GridOf(t.Shape)}
	st, err := e.stat(ctx, members[0])
	if err != nil {
		return err
	}
	m.few, m.limit = st.few, e.in.Profile.Beta*(st.abs/float64(max(1, st.n)))
	if m.domain, err = e.changesOf(ctx, weight, t.Shape); err != nil {
		return err
	}
	if err := m.fit(ctx); err != nil {
		return err
	}
	if m.few {
		smaller, err := m.smallerExact(ctx, plans)
		if smaller || err != nil {
			return err
		}
	}
	for j, i := range members {
		plans[i] = m.plan(j, weight)
	}
	return nil
}

// moments codes one or two tensors that share a support.
type moments struct {
	e       *encoder
	members []int // tensors; the first owns the support
	d       tensor.DType
	grid    codec.Grid
	few     bool     // everything but zeros is kept, and met exactly
	limit   float64  // else what of the first is not above is pruned,
	domain  *changes // and so is what did not change here; nil: not masked
	kept    int
	support *codec.Support
	books   [2]book
}

func (m *moments) plan(j int, weight string) *plan {
	p := &plan{method: codec.Codebook, coder: &moment{m, j}, sibling: -1, support: -1}
	if j > 0 {
		p.support = m.members[0]
	} else if m.domain != nil {
		p.mask, p.sibling = weight, m.domain.file
	}
	if m.kept > 0 {
		p.model = codec.AppendCodebook(nil, m.books[j].centres)
		if j == 0 {
			p.model = m.support.Append(p.model)
		}
		p.model = m.books[j].values.Append(p.model)
	}
	return p
}

// fit makes the codebooks and models.
func (m *moments) fit(ctx context.Context) error {
	s := m.e.scratch()
	defer m.e.release(s)
	counts := codec.NewCounts(m.grid, m.domain != nil)
	var parts [2]fitting
	for j := range m.members {
		parts[j].spread = codec.NewSpread(m.grid)
	}
	nested := true
	err := m.e.each(ctx, m.members[0], func(sp span) error {
		if err := m.keep(ctx, s, sp); err != nil {
			return err
		}
		if m.domain == nil {
			counts.Add(sp.start, sp.n, s.mask, nil)
		} else if nested = nested && inside(s.mask, s.domain); nested {
			counts.Add(sp.start, sp.n, s.mask, s.domain)
		}
		for j := range m.members {
			if err := m.read(s, j, sp); err != nil {
				return err
			}
			parts[j].add(s, sp)
		}
		m.kept += len(s.pos)
		return nil
	})
	if err != nil {
		return err
	}
	if !nested { // changed by other hands than the optimizer's
		m.domain, m.kept = nil, 0
		return m.fit(ctx)
	}
	m.support = codec.FitSupport(m.grid, counts)
	for j, i := range m.members {
		st, err := m.e.stat(ctx, i)
		if err != nil {
			return err
		}
		m.books[j] = parts[j].book(m.grid, st, m.e.limit)
	}
	return nil
}

// keep finds the support of a chunk: s.mask, s.pos and, where nested, s.domain.
func (m *moments) keep(ctx context.Context, s *scratch, sp span) error {
	if err := m.read(s, 0, sp); err != nil {
		return err
	}
	s.mask = bitmap(s.mask, sp.n)
	above(s.mask, s.x, m.limitOrZero())
	if m.few && len(m.members) > 1 {
		if err := m.read(s, 1, sp); err != nil {
			return err
		}
		s.domain = bitmap(s.domain, sp.n)
		above(s.domain, s.x, 0)
		for i, w := range s.domain {
			s.mask[i] |= w
		}
	}
	if m.domain != nil {
		s.domain = bitmap(s.domain, sp.n)
		if err := m.domain.mask(ctx, s.domain, sp); err != nil {
			return err
		}
		if !m.few {
			and(s.mask, s.domain)
		}
	}
	s.pos = positions(s.pos, s.mask)
	return nil
}

func (m *moments) limitOrZero() float64 {
	if m.few {
		return 0
	}
	return m.limit
}

// read fills s.orig and s.x with elements of member j.
func (m *moments) read(s *scratch, j int, sp span) error {
	err := m.e.readOrig(s, m.members[j], sp)
	s.floats(s.orig, m.d)
	return err
}

// smallerExact plans few values exactly where a sample says that is smaller.
func (m *moments) smallerExact(ctx context.Context, plans map[int]*plan) (bool, error) {
	var book, exact float64
	for j, i := range m.members {
		p, err := m.e.planExact(ctx, i)
		if err != nil {
			return false, err
		}
		plans[i] = p
		asExact, err := m.e.sampleChunks(ctx, i, p.coder)
		if err != nil {
			return false, err
		}
		asBook, err := m.e.sampleChunks(ctx, i, &moment{m, j})
		if err != nil {
			return false, err
		}
		exact += asExact
		book += asBook + float64(len(m.plan(j, "").model))
	}
	return exact <= book, nil
}

// sampleChunks estimates the payload of a tensor by three of its chunks.
func (e *encoder) sampleChunks(ctx context.Context, i int, c coder) (float64, error) {
	s := e.scratch()
	defer e.release(s)
	g := geometryOf(e.tensors[i])
	n, size := 0, 0
	for k := 0; k < g.chunks(); k += max(1, g.chunks()-1)/2 + 1 {
		s.payload, s.support = s.payload[:0], s.support[:0]
		if err := c.encode(ctx, s, g.chunk(k)); err != nil {
			return 0, err
		}
		n++
		size += len(s.payload) + len(s.support)
	}
	return float64(size) * float64(g.chunks()) / float64(max(1, n)), nil
}

// moment is the coder of one member.
type moment struct {
	*moments
	j int
}

func (m *moment) decoded(ctx context.Context, s *scratch, sp span) error {
	if err := m.keep(ctx, s, sp); err != nil {
		return err
	}
	return m.apply(s, sp)
}

// apply reconstructs what keep has found.
func (m *moment) apply(s *scratch, sp span) error {
	if m.j > 0 || m.few { // else keep has left it there
		if err := m.read(s, m.j, sp); err != nil {
			return err
		}
	}
	s.dec = sized(s.dec, len(s.orig))
	clear(s.dec)
	s.sym = m.books[m.j].symbols(s.sym[:0], s.x, s.pos)
	return codec.ApplyCodebook(s.dec, m.d, s.pos, s.sym, m.books[m.j].centres)
}

func (m *moment) encode(ctx context.Context, s *scratch, sp span) error {
	if err := m.keep(ctx, s, sp); err != nil {
		return err
	}
	if len(s.pos) == 0 {
		return m.apply(s, sp)
	}
	domain := s.domain
	if m.domain == nil {
		domain = nil
	}
	s.support = m.support.Encode(s.support, sp.start, sp.n, s.mask, domain)
	if err := s.order(m.support, sp, domain); err != nil {
		return err
	}
	if err := m.apply(s, sp); err != nil {
		return err
	}
	s.payload = m.books[m.j].values.Encode(s.payload, sp.start, s.pos, s.sym)
	if m.j > 0 {
		s.support = s.support[:0]
	}
	return nil
}
