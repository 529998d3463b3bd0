package encode

import (
	"context"
	"fmt"
	"io"
	"sync"

	"excpfs/archive"
	"excpfs/decode"
	"excpfs/tensor"
)

// Names of the profiles.
const (
	ProfileExcp  = "excp"
	ProfileExact = "exact"
)

// MaxBaseRMS is the largest residual, relative to the weights' RMS, at which a lossy residual is taken.
const MaxBaseRMS = 0.3

// MinWeightElems is the size below which weights are always exact.
const MinWeightElems = 4096

// Input is one plain file to encode.
type Input struct {
	Name    string // for messages
	Src     io.ReaderAt
	Layout  *tensor.Layout
	Profile archive.Profile
	// Base is what float tensors are differences to; nil: none. BaseHint and
	// WeightsHint are store-relative paths recorded in the dependencies.
	Base     *decode.File
	BaseHint string
	// Weights hold the weights of moments that have none in this file.
	Weights []Sibling
	// Pairs names the weights of moments that are not named after them, by the key in the moments' names: 0 of state.0.exp_avg.
	Pairs map[string]string
	// MeanSq gives the mean of the original exp_avg_sq of a weight when it is in another file; may be nil.
	MeanSq  func(weight string) (float64, bool)
	Workers int
	Worker  func() // called first on every goroutine that works, to lower its priority; may be nil
}

// Sibling is another file of the checkpoint, with its store-relative path and that of its base.
type Sibling struct {
	*decode.File
	Hint, BaseHint string
}

// Encode writes the blocks and returns the finished index; the caller adds the trailer
// with w.Finish, or drops what was written after an error, of which *OwnBaseError is one. The
// index holds the hashes of what decoding gives, computed from the encoder's own
// reconstruction.
func Encode(ctx context.Context, in Input, w *archive.Writer) (*archive.Index, error) {
	e, err := newEncoder(in)
	if err != nil {
		return nil, fmt.Errorf("encode %s: %w", in.Name, err)
	}
	ix, err := e.run(ctx, w)
	if err != nil {
		return nil, fmt.Errorf("encode %s: %w", in.Name, err)
	}
	return ix, nil
}

// encoder is one call of Encode.
type encoder struct {
	in      Input
	tensors []tensor.Info
	limit   int              // most centres of a codebook
	base    map[string]int   // tensors of in.Base by name
	sibling map[string]place // tensors of in.Weights by name
	sums    map[int][]int64  // places of the CRC-32 of a tensor
	opaque  map[int]bool     // nothing is known of the tensor but its type
	weights map[string]int   // weights of this file by name
	moments map[string][]int // moments of this file by weight
	groups  []*group         // of each tensor; nil for weights

	plans   []memo[*plan]
	stats   []memo[stat]
	domains map[string]*domain // by weight that moments name
	masks   budget
	slots   chan struct{} // one a worker: held while computing

	mu    sync.Mutex
	spare []*scratch
}

func newEncoder(in Input) (*encoder, error) {
	p := in.Profile
	switch {
	case p.Name != ProfileExcp && p.Name != ProfileExact:
		return nil, fmt.Errorf("unknown profile %q", p.Name)
	case p.Name == ProfileExcp && (p.Bits < 1 || p.Bits > 8):
		return nil, fmt.Errorf("%d bits: 1 to 8 are possible", p.Bits)
	}
	if err := in.Layout.Check(); err != nil {
		return nil, err
	}
	in.Workers = max(1, in.Workers)
	n := len(in.Layout.Tensors)
	e := &encoder{
		in:      in,
		tensors: in.Layout.Tensors,
		limit:   1<<p.Bits - 1,
		base:    byName(in.Base),
		sibling: map[string]place{},
		sums:    map[int][]int64{},
		opaque:  map[int]bool{},
		weights: map[string]int{},
		plans:   make([]memo[*plan], n),
		stats:   make([]memo[stat], n),
		domains: map[string]*domain{},
		slots:   make(chan struct{}, in.Workers),
	}
	for k, s := range in.Weights {
		for name, i := range byName(s.File) {
			if _, have := e.sibling[name]; !have {
				e.sibling[name] = place{k, i}
			}
		}
	}
	for _, s := range in.Layout.Sums {
		e.sums[s.Tensor] = s.Offsets
	}
	for _, i := range in.Layout.Opaque {
		e.opaque[i] = true
	}
	e.masks.give(maskBudget)
	e.group()
	return e, nil
}

// place of a weight among in.Weights.
type place struct{ file, tensor int }

func byName(f *decode.File) map[string]int {
	m := map[string]int{}
	if f != nil {
		for i, t := range f.Index().Tensors {
			m[t.Name] = i
		}
	}
	return m
}

func (e *encoder) excp() bool { return e.in.Profile.Name == ProfileExcp }

// baseOf is the tensor of the base that tensor i may be a difference to, or -1.
func (e *encoder) baseOf(i int) int {
	b, ok := e.base[e.tensors[i].Name]
	if !ok || !sameKind(e.tensors[i], e.in.Base.Index().Tensors[b].Info) {
		return -1
	}
	return b
}

// memo is a value that is computed once, by whoever asks first.
type memo[T any] struct {
	once sync.Once
	v    T
	err  error
}

func (m *memo[T]) get(f func() (T, error)) (T, error) {
	m.once.Do(func() { m.v, m.err = f() })
	return m.v, m.err
}
