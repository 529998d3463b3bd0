package encode

import (
	"cmp"
	"context"
	"crypto/sha256"
	"fmt"
	"hash"

	"golang.org/x/sync/errgroup"

	"excpfs/archive"
	"excpfs/codec"
	"excpfs/tensor"
)

// lookahead is how many tensors a worker may plan ahead of coding.
const lookahead = 4

// job is one chunk to code.
type job struct {
	i    int
	sp   span
	plan *plan
	s    *scratch
	done chan error // nil when s is ready
}

// run plans and codes all tensors. Jobs are made in file order, coded in any order
// and written in file order.
func (e *encoder) run(ctx context.Context, w *archive.Writer) (*archive.Index, error) {
	g, ctx := errgroup.WithContext(ctx)
	ahead := make(chan struct{}, lookahead*e.in.Workers)
	todo := make(chan int)
	jobs, order := make(chan *job), make(chan *job, e.in.Workers+1)
	e.spawn(g, func() error { return e.admit(ctx, todo, ahead) })
	for range e.in.Workers {
		e.spawn(g, func() error { return e.planner(ctx, todo) })
		e.spawn(g, func() error { return e.worker(ctx, jobs) })
	}
	e.spawn(g, func() error { return e.cut(ctx, ahead, order, jobs) })
	var ix *archive.Index
	e.spawn(g, func() error {
		var err error
		ix, err = e.write(ctx, w, order)
		return err
	})
	return ix, g.Wait()
}

func (e *encoder) spawn(g *errgroup.Group, f func() error) {
	g.Go(func() error {
		if e.in.Worker != nil {
			e.in.Worker()
		}
		return f()
	})
}

// send gives up with the context.
func send[T any](ctx context.Context, c chan<- T, v T) error {
	select {
	case c <- v:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func receive[T any](ctx context.Context, c <-chan T) (v T, ok bool, err error) {
	select {
	case v, ok = <-c:
		return v, ok, nil
	case <-ctx.Done():
		return v, false, ctx.Err()
	}
}

// admit lets tensors be planned, not too far ahead.
func (e *encoder) admit(ctx context.Context, todo chan<- int, ahead chan<- struct{}) error {
	defer close(todo)
	for i := range e.tensors {
		if err := send(ctx, ahead, struct{}{}); err != nil {
			return err
		}
		if err := send(ctx, todo, i); err != nil {
			return err
		}
	}
	return nil
}

func (e *encoder) planner(ctx context.Context, todo <-chan int) error {
	for {
		i, ok, err := receive(ctx, todo)
		if !ok {
			return err
		}
		e.slots <- struct{}{}
		_, err = e.plan(ctx, i)
		<-e.slots
		if err != nil {
			return fmt.Errorf("tensor %q: %w", e.tensors[i].Name, err)
		}
	}
}

// cut makes the jobs of tensors as they are planned.
func (e *encoder) cut(ctx context.Context, ahead <-chan struct{}, order, jobs chan<- *job) error {
	defer close(order)
	defer close(jobs)
	for i, t := range e.tensors {
		p, err := e.plan(ctx, i)
		if err != nil {
			return fmt.Errorf("tensor %q: %w", t.Name, err)
		}
		if _, _, err := receive(ctx, ahead); err != nil {
			return err
		}
		g := geometryOf(t)
		for k := range g.chunks() {
			j := &job{i: i, sp: g.chunk(k), plan: p, done: make(chan error, 1)}
			if err := send(ctx, order, j); err != nil {
				return err
			}
			if err := send(ctx, jobs, j); err != nil {
				return err
			}
		}
	}
	return nil
}

func (e *encoder) worker(ctx context.Context, jobs <-chan *job) error {
	for {
		j, ok, err := receive(ctx, jobs)
		if !ok {
			return err
		}
		e.slots <- struct{}{}
		j.s = e.scratch()
		j.done <- e.code(ctx, j)
		<-e.slots
	}
}

// code runs one job: payload, reconstruction, sums.
func (e *encoder) code(ctx context.Context, j *job) error {
	s := j.s
	s.payload, s.support, s.tally = s.payload[:0], s.support[:0], newTally()
	if err := j.plan.coder.encode(ctx, s, j.sp); err != nil {
		return err
	}
	d := e.tensors[j.i].DType
	if !d.Lossy() {
		return nil
	}
	s.floats(s.orig, d)
	s.tally.add(s.x)
	if s.tally.finite {
		s.differences(s.orig, s.dec, d)
		s.tally.err = sumSquares(s.d)
	}
	return nil
}

// output is what write has so far.
type output struct {
	e     *encoder
	w     *archive.Writer
	ix    *archive.Index
	sum   hash.Hash // of the decoded file
	roles [3]tally
	seen  [3]bool

	patches map[int][]patch // of verbatim bytes, by the tensor that follows them
}

// write takes the finished jobs in order.
func (e *encoder) write(ctx context.Context, w *archive.Writer, order <-chan *job) (*archive.Index, error) {
	l := e.in.Layout
	o := &output{e: e, w: w, sum: sha256.New(), ix: &archive.Index{Format: l.Format}, patches: map[int][]patch{}}
	o.ix.Size, o.ix.Schema, o.ix.Profile = l.Size, l.Schema(), e.in.Profile
	at := int64(0)
	for i, t := range e.tensors {
		if err := o.gap(at, t.Offset-at, i); err != nil {
			return nil, err
		}
		if err := o.tensor(ctx, i, order); err != nil {
			return nil, fmt.Errorf("tensor %q: %w", t.Name, err)
		}
		at = t.Offset + t.Length
	}
	if err := o.gap(at, l.Size-at, len(e.tensors)); err != nil {
		return nil, err
	}
	return o.finish(ctx)
}

// gap keeps the verbatim bytes before tensor next.
func (o *output) gap(at, n int64, next int) error {
	if n > maxVerbatim-int64(len(o.ix.Verbatim)) {
		return fmt.Errorf("more than %d bytes that are not tensors", maxVerbatim)
	}
	p := make([]byte, n)
	if err := readAt(o.e.in.Src, p, at); err != nil {
		return fmt.Errorf("bytes at %d: %w", at, err)
	}
	o.patched(p, at, next)
	o.sum.Write(p)
	o.ix.Verbatim = append(o.ix.Verbatim, p...)
	return nil
}

// maxVerbatim is what the index can hold.
const maxVerbatim = 1 << 27

// tensor writes the blocks of one tensor.
func (o *output) tensor(ctx context.Context, i int, order <-chan *job) error {
	t := o.e.tensors[i]
	a := archive.Tensor{Info: t, Base: -1, Weights: -1, Support: -1}
	g := geometryOf(t)
	own, all := sha256.New(), newTally()
	var crc checksum
	var p *plan
	for range g.chunks() {
		j, ok, err := receive(ctx, order)
		if !ok && err == nil { // the one who makes the jobs gave up, and is about to say why
			<-ctx.Done()
			err = ctx.Err()
		}
		if err != nil {
			return err
		}
		fault, _, err := receive(ctx, j.done)
		if err = cmp.Or(fault, err); err != nil {
			return err
		}
		if p == nil {
			p = j.plan
			if err := o.append(&a.Model, p.model); err != nil {
				return err
			}
		}
		if err := o.chunk(&a, p, j.s); err != nil {
			return err
		}
		o.sum.Write(j.s.dec)
		if len(o.e.sums[i]) > 0 {
			crc.add(j.s.orig, j.s.dec)
		}
		if t.Length > hashMin {
			own.Write(j.s.dec)
		}
		all.merge(j.s.tally)
		o.e.release(j.s)
	}
	if t.Length > hashMin {
		a.Hash = [16]byte(own.Sum(nil)[:16])
	}
	o.amend(i, crc)
	o.figures(&a, all)
	o.ix.Tensors = append(o.ix.Tensors, a)
	o.e.written(i)
	return nil
}

// hashMin is the length up to which a tensor has no hash of its own.
const hashMin = 64

func (o *output) append(b *archive.Block, p []byte) error {
	if len(p) == 0 {
		return nil
	}
	var err error
	*b, err = o.w.Append(p)
	return err
}

func (o *output) chunk(a *archive.Tensor, p *plan, s *scratch) error {
	var values, support archive.Block
	if err := o.append(&values, s.payload); err != nil {
		return err
	}
	if err := o.append(&support, s.support); err != nil {
		return err
	}
	if p.method != codec.Same {
		a.Chunks = append(a.Chunks, values)
	}
	if p.method == codec.Codebook && p.support < 0 {
		a.Supports = append(a.Supports, support)
	}
	return nil
}

// figures records mean and error of a tensor, and adds it to its role's.
func (o *output) figures(a *archive.Tensor, all tally) {
	if !a.DType.Lossy() {
		return
	}
	role, _ := tensor.RoleOf(a.Name)
	if role == tensor.Weight && tensor.OptimizerState(a.Name) {
		return // a counter or the like, and exact
	}
	o.seen[role] = true
	if !all.finite || all.n == 0 {
		return
	}
	a.Error = all.relative()
	switch role {
	case tensor.ExpAvg:
		a.Mean = all.abs / float64(all.n)
	case tensor.ExpAvgSq:
		a.Mean = all.sum / float64(all.n)
	}
	o.roles[role].merge(all)
}
