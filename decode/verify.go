package decode

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"os"
	"runtime"
	"sync"

	"excpfs/archive"
	"excpfs/cache"
)

// verifyCache is the memory Verify decodes in, beside what is under way: masks.
const verifyCache = 16 << 20

// hashedLength is the longest payload without a hash of its own.
const hashedLength = 64

// Verify decodes everything and compares all hashes; report gets each fault, and the
// first is returned. It does not look at what others decoded. Where a tensor is damaged
// it goes on with the next; the context ends it.
func (f *File) Verify(ctx context.Context, report func(error)) error {
	return f.VerifyWith(ctx, runtime.NumCPU(), func() {}, report)
}

// VerifyWith is Verify by so many workers, each of which calls begin first; the
// caller's goroutine hashes.
func (f *File) VerifyWith(ctx context.Context, workers int, begin func(), report func(error)) error {
	if !f.set.acquire() {
		return fmt.Errorf("decode: verify %s: %w", f.Name(), os.ErrClosed)
	}
	defer f.set.release()
	v := verifier{File: f, cache: cache.New(verifyCache), whole: sha256.New(), at: -1, report: report}
	todo, order := make(chan *verifyJob), make(chan *verifyJob, workers)
	running, stop := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() {
		defer close(order)
		defer close(todo)
		v.cut(running, todo, order)
	})
	for range workers {
		wg.Go(func() {
			begin()
			for j := range todo {
				j.entry, j.err = ref{f, j.tensor}.get(running, v.cache, j.chunk)
				close(j.done)
			}
		})
	}
	err := v.all(ctx, order)
	stop()
	wg.Wait()
	return err
}

// verifyJob is a chunk to decode, or a verbatim run.
type verifyJob struct {
	piece
	entry *cache.Entry
	err   error
	done  chan struct{} // closed when entry or err is there
}

type verifier struct {
	*File
	cache  *cache.Cache
	whole  hash.Hash
	report func(error)
	first  error

	at  int // the tensor under way, or -1
	sum hash.Hash
	bad bool
}

// cut sends every piece of the file to the one who hashes, and the chunks to the workers.
func (v *verifier) cut(ctx context.Context, todo, order chan<- *verifyJob) {
	for off := int64(0); off < v.Size(); {
		j := &verifyJob{piece: v.extents.at(off, v.Size()-off), done: make(chan struct{})}
		off += j.n
		select {
		case order <- j:
		case <-ctx.Done():
			return
		}
		if j.tensor < 0 {
			close(j.done)
			continue
		}
		select {
		case todo <- j:
		case <-ctx.Done():
			return
		}
	}
}

// all takes in the pieces in file order.
func (v *verifier) all(ctx context.Context, order <-chan *verifyJob) error {
	for j := range order {
		select {
		case <-j.done:
			v.take(j)
		case <-ctx.Done():
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	v.end()
	if v.first == nil && [32]byte(v.whole.Sum(nil)) != v.ix.Hash {
		v.fault(&archive.DamageError{File: v.Name(), What: "the decoded file has another hash"})
	}
	return v.first
}

func (v *verifier) take(j *verifyJob) {
	if j.tensor < 0 {
		v.whole.Write(v.ix.Verbatim[j.off : j.off+j.n])
		return
	}
	if j.tensor != v.at {
		v.end()
		v.at, v.sum, v.bad = j.tensor, sha256.New(), false
	}
	if j.err != nil {
		v.failed(j.err)
		return
	}
	v.whole.Write(j.entry.Bytes())
	v.sum.Write(j.entry.Bytes())
	j.entry.Release()
}

// failed reports the first chunk of a tensor that cannot be decoded.
func (v *verifier) failed(err error) {
	if v.bad {
		return
	}
	v.bad = true
	if damage := (*archive.DamageError)(nil); !errors.As(err, &damage) {
		r := ref{v.File, v.at}
		err = r.damage(firstBlock(r.tensor()), "%v", err)
	}
	v.fault(err)
}

// end compares the hash of the tensor under way, if there is one.
func (v *verifier) end() {
	if v.at < 0 || v.bad {
		return
	}
	r := ref{v.File, v.at}
	if t := r.tensor(); t.Length > hashedLength && [16]byte(v.sum.Sum(nil)[:16]) != t.Hash {
		v.fault(r.damage(firstBlock(t), "decodes to another hash"))
	}
}

func (v *verifier) fault(err error) {
	if v.first == nil {
		v.first = err
	}
	v.report(err)
}

func firstBlock(t *archive.Tensor) archive.Block {
	for _, bs := range [][]archive.Block{t.Chunks, t.Supports} {
		if len(bs) > 0 {
			return bs[0]
		}
	}
	return t.Model
}
