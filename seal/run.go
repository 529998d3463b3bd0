package seal

import (
	"context"
	"time"

	"excpfs/store"
)

// tick is how often a queue that is not empty is looked at, if that takes at most a tenth of the time.
const tick = 200 * time.Millisecond

// lowSpace is the share of free space below which the job that frees most goes first.
const lowSpace = 0.05

// Run works until ctx ends, then stops after the swap under way.
func (l *Sealer) Run(ctx context.Context) error {
	for ctx.Err() == nil {
		start := time.Now()
		worked, empty := l.step(ctx)
		switch {
		case worked:
		case empty:
			l.sleep(ctx)
		default: // not at every change: while many files are written there are many
			pause(ctx, max(tick, 10*time.Since(start)))
		}
	}
	return nil
}

// step does the first job that is due. empty: there is nothing to wait for but a new file.
func (l *Sealer) step(ctx context.Context) (worked, empty bool) {
	if err := l.enter(ctx); err != nil {
		return false, false
	}
	defer l.leave()
	pending := l.s.Pending()
	jobs := l.settler.due(time.Now(), pending)
	if len(jobs) == 0 {
		return false, len(pending) == 0
	}
	if l.spaceIsLow() {
		largestFirst(jobs)
	}
	l.work(ctx, jobs[0])
	return true, false
}

// sleep waits for the queue to change.
func (l *Sealer) sleep(ctx context.Context) {
	select {
	case <-ctx.Done():
	case <-l.s.Wake():
	}
}

func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

func (l *Sealer) enter(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-l.turn:
		return nil
	}
}

func (l *Sealer) leave() { l.turn <- struct{}{} }

func (l *Sealer) spaceIsLow() bool {
	st, err := l.s.Statfs()
	return err == nil && float64(st.Bavail) < lowSpace*float64(st.Blocks)
}

// Drain works through the queue at once (no settle time) until it is empty or ctx ends; it returns what stayed plain.
// It waits for files that are open.
func (l *Sealer) Drain(ctx context.Context) ([]Event, error) {
	if err := l.enter(ctx); err != nil {
		return l.left(nil), err
	}
	defer l.leave()
	failed := map[key]bool{}     // for a fault of the store: tried once
	until := map[key]time.Time{} // put off
	var plain []Event
	for ctx.Err() == nil {
		job, more := next(l.s.Pending(), failed, until)
		if !more {
			return append(plain, l.left(failed)...), nil
		}
		for _, o := range l.work(ctx, job) {
			switch {
			case o.fault:
				failed[keyOf(o.p)] = true
			case o.again:
				until[keyOf(o.p)] = time.Now().Add(tick)
			case o.Stored == 0:
				plain = append(plain, o.Event)
			}
		}
		if len(job) == 0 {
			pause(ctx, tick)
		}
	}
	return append(plain, l.left(nil)...), ctx.Err()
}

// next is a job of the files of one folder that may be worked on now; more: files remain, perhaps open ones.
func next(pending []store.Pending, failed map[key]bool, until map[key]time.Time) (job []store.Pending, more bool) {
	for _, f := range group(pending) {
		for _, p := range f {
			if failed[keyOf(p)] {
				continue
			}
			more = true
			if !p.Writing && !p.Open && time.Now().After(until[keyOf(p)]) {
				job = append(job, p)
			}
		}
		if len(job) > 0 {
			return job, true
		}
	}
	return nil, more
}

// left are the events of what is still in the queue.
func (l *Sealer) left(failed map[key]bool) []Event {
	var es []Event
	for _, p := range l.s.Pending() {
		e := Event{Path: pathOf(p), Logical: p.ID.Size, Reason: "not sealed yet", Waiting: true}
		switch {
		case failed[keyOf(p)]:
			e.Reason = "the store failed; it is tried again at the next mount"
		case p.Writing || p.Open:
			e.Reason = "still open"
		}
		es = append(es, e)
	}
	return es
}
