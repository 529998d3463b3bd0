package seal

import (
	"context"
	"errors"
	"io/fs"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"excpfs/archive"
	"excpfs/store"
)

// outcome of one file of a job.
type outcome struct {
	Event
	p     store.Pending
	again bool // still in the queue
	fault bool // because the store failed
}

// work seals the files of one folder that settled together. What happens to one does
// not hold the others.
func (l *Sealer) work(ctx context.Context, job []store.Pending) []outcome {
	if len(job) == 0 {
		return nil
	}
	var done []outcome
	f := l.folder(job[0].Dir)
	defer f.close()
	for _, p := range job {
		u, err := l.open(p)
		if err != nil {
			done = append(done, l.conclude(ctx, p, 0, err)...)
			continue
		}
		f.units = append(f.units, u)
	}
	slices.SortStableFunc(f.units, weightsFirst)
	for _, u := range f.units {
		if ctx.Err() != nil {
			break
		}
		stored, err := l.seal(ctx, f, u)
		done = append(done, l.conclude(ctx, u.pending, stored, err)...)
	}
	return done
}

// seal makes the archive of one file and puts it in the file's place.
func (l *Sealer) seal(ctx context.Context, f *folder, u *unit) (stored int64, err error) {
	if q, ok := l.s.Again(u.pending); !ok || q.Open || q.Writing {
		return 0, store.ErrBusy // opened since the job began: what was made could not be swapped
	}
	l.s.Sealing(u.pending)
	var d *draft
	err = l.aside(func() error {
		d, err = l.draft(ctx, f, u)
		return err
	})
	if err != nil {
		return 0, err
	}
	defer l.s.Discard(d.temp)
	return d.size, u.place(d)
}

// conclude takes the file out of the queue, or leaves it there for later. Of one that is
// left because ctx ended there is nothing to tell.
func (l *Sealer) conclude(ctx context.Context, p store.Pending, stored int64, err error) []outcome {
	o := outcome{p: p, Event: Event{Path: pathOf(p), Logical: p.ID.Size, Stored: stored}}
	reason, plain := errors.AsType[stays](err)
	switch {
	case err == nil:
		l.s.Done(p, "")
	case ctx.Err() != nil && !plain:
		return nil
	case transient(err) || l.touched(p):
		l.s.Later(p, "")
		l.settler.putOff(p, time.Now().Add(max(l.o.Settle, tick)))
		return []outcome{{p: p, Event: Event{Path: o.Path}, again: true}}
	case plain:
		o.Stored, o.Reason = 0, string(reason)
		if o.Logical >= minSize {
			l.o.Log.Info("stays plain", "file", o.Path, "reason", o.Reason)
		}
		l.s.Done(p, o.Reason)
	case storeFault(err):
		l.s.Later(p, err.Error()+"; tried again later")
		o.Stored, o.Err, o.again, o.fault = 0, err, true, true
		if !l.settler.backOff(p, time.Now()) {
			l.o.Log.Warn("not sealed, tried again later", "file", o.Path, "error", err)
		}
	default:
		o.Stored, o.Reason, o.Err = 0, err.Error(), err
		l.o.Log.Warn("stays plain", "file", o.Path, "error", err)
		l.s.Failed(p, o.Reason)
	}
	l.tell(o.Event)
	return []outcome{o}
}

// touched: the file is not what the job began with, so what was found says nothing of it.
func (l *Sealer) touched(p store.Pending) bool {
	q, ok := l.s.Again(p)
	return !ok || q.Writing || q.ID != p.ID
}

// transient: somebody used, changed or removed the file, or a base, meanwhile. A file that
// is gone leaves the queue by itself.
func transient(err error) bool {
	_, missing := errors.AsType[*archive.MissingError](err)
	return missing || errors.Is(err, store.ErrBusy) || errors.Is(err, store.ErrChanged) || errors.Is(err, fs.ErrNotExist)
}

// storeFault: the file is not to blame.
func storeFault(err error) bool {
	return errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) || errors.Is(err, unix.EIO)
}
