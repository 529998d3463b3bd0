package decode

import (
	"sync"

	"excpfs/archive"
	"excpfs/codec"
)

// model is what the chunks of a tensor have in common, parsed.
type model struct {
	once    sync.Once
	err     error
	centres []float32
	support *codec.Support // nil where another tensor has it
	values  *codec.Values
}

// model returns the parsed Model block of a tensor, which is read once.
func (r ref) model() (*model, error) {
	m, ok := r.models.Get(r.i)
	if !ok {
		m = new(model)
		if before, ok, _ := r.models.PeekOrAdd(r.i, m); ok {
			m = before
		}
	}
	m.once.Do(func() { m.err = m.read(r) })
	if m.err != nil {
		r.models.Remove(r.i)
	}
	return m, m.err
}

func (m *model) read(r ref) error {
	t := r.tensor()
	b, err := r.r.Block(t.Model, t.Name, nil)
	if err != nil {
		return err
	}
	if err := m.parse(t, b); err != nil {
		return r.damage(t.Model, "model: %v", err)
	}
	return nil
}

func (m *model) parse(t *archive.Tensor, b []byte) (err error) {
	g := codec.GridOf(t.Shape)
	if m.centres, b, err = codec.ParseCodebook(b); err != nil {
		return err
	}
	if t.Support < 0 {
		if m.support, b, err = codec.ParseSupport(g, b); err != nil {
			return err
		}
	}
	if m.values, b, err = codec.ParseValues(g, b); err != nil {
		return err
	}
	if len(b) > 0 {
		return errTrailing
	}
	return nil
}
