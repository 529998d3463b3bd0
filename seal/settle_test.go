package seal

import (
	"slices"
	"strings"
	"testing"
	"time"

	"excpfs/archive"
	"excpfs/store"
)

// clock runs a settler over a queue that the test changes.
type clock struct {
	settler
	now   time.Time
	queue []*store.Pending
}

func newClock() *clock {
	c := &clock{now: time.Unix(1e9, 0)}
	c.settler = settler{settle: 2 * time.Second, maxWait: time.Minute, tensor: func(p store.Pending) bool {
		return strings.HasSuffix(p.Name, ".safetensors")
	}}
	return c
}

func (c *clock) add(d *store.Dir, name string) *store.Pending {
	p := &store.Pending{Dir: d, Name: name, Settled: c.now, Queued: c.now}
	c.queue = append(c.queue, p)
	return p
}

// jobs looks at the queue as it is now.
func (c *clock) jobs() [][]string {
	var in []store.Pending
	for _, p := range c.queue {
		in = append(in, *p)
	}
	var out [][]string
	for _, job := range c.due(c.now, in) {
		var names []string
		for _, p := range job {
			names = append(names, p.Name)
		}
		out = append(out, names)
	}
	return out
}

// until passes time in ticks and returns the first jobs and how long they took to come.
func (c *clock) until(most time.Duration) ([][]string, time.Duration) {
	begin := c.now
	for c.now.Sub(begin) <= most {
		if j := c.jobs(); len(j) > 0 {
			return j, c.now.Sub(begin)
		}
		c.now = c.now.Add(tick)
	}
	return nil, c.now.Sub(begin)
}

func (c *clock) want(t *testing.T, after time.Duration, names ...string) {
	t.Helper()
	got, took := c.until(5 * time.Minute)
	if len(got) != 1 || !slices.Equal(got[0], names) || took < after || took > after+tick {
		t.Fatalf("got %v after %v, want %v after %v", got, took, names, after)
	}
}

func (c *clock) wantNone(t *testing.T, d time.Duration) {
	t.Helper()
	if got, took := c.until(d); got != nil {
		t.Fatalf("got %v after %v, want none in %v", got, took, d)
	}
}

func TestSettleTogether(t *testing.T) {
	c, d := newClock(), &store.Dir{}
	c.add(d, "model.safetensors")
	c.wantNone(t, time.Second)
	c.add(d, "optimizer.safetensors")
	c.want(t, 2*time.Second, "model.safetensors", "optimizer.safetensors")
}

func TestSettleWaitsForTheOpen(t *testing.T) {
	for _, open := range []bool{true, false} {
		c, d := newClock(), &store.Dir{}
		c.add(d, "model.safetensors")
		p := c.add(d, "optimizer.safetensors")
		p.Open, p.Writing = open, !open
		c.wantNone(t, 30*time.Second)
		p.Open, p.Writing, p.Settled = false, false, c.now
		c.want(t, 2*time.Second, "model.safetensors", "optimizer.safetensors")
	}
}

func TestSettleCap(t *testing.T) {
	c, d := newClock(), &store.Dir{}
	c.add(d, "model.safetensors")
	c.add(d, "optimizer.safetensors").Open = true // somebody reads it for hours
	c.want(t, time.Minute, "model.safetensors")
	c.queue = c.queue[1:]
	c.wantNone(t, 2*time.Minute)
	c.queue[0].Open = false
	c.want(t, 0, "optimizer.safetensors")
}

// The cap does not run while another tensor file of the folder is written, however long.
func TestSettleCapStandsStill(t *testing.T) {
	c, d := newClock(), &store.Dir{}
	c.add(d, "model.safetensors")
	c.wantNone(t, time.Second)
	w := c.add(d, "optimizer.safetensors")
	w.Writing = true
	c.wantNone(t, 5*time.Minute)
	w.Writing, w.Settled = false, c.now
	c.want(t, 2*time.Second, "model.safetensors", "optimizer.safetensors")
}

// A log that stays open for writing holds nothing beyond the cap.
func TestSettleCapBesideLog(t *testing.T) {
	c, d := newClock(), &store.Dir{}
	c.add(d, "train.log").Writing = true
	c.add(d, "model.safetensors")
	c.want(t, time.Minute, "model.safetensors")
}

// A file that changes again and again holds the others no longer than the cap.
func TestSettleCapOfTouchedFolder(t *testing.T) {
	c, d := newClock(), &store.Dir{}
	c.add(d, "model.safetensors")
	touched := c.add(d, "trainer_state.json")
	for range 35 {
		touched.Settled = c.now
		c.wantNone(t, 1400*time.Millisecond) // and the tick after it
	}
	touched.Settled = c.now.Add(10 * time.Second)
	c.want(t, time.Minute-35*1600*time.Millisecond, "model.safetensors")
}

func TestSettleOrder(t *testing.T) {
	c, a, b := newClock(), &store.Dir{}, &store.Dir{}
	c.add(a, "old").ID.Size = 1
	c.now = c.now.Add(time.Second)
	c.add(b, "new").ID.Size = 2
	c.add(a, "added").ID = archive.FileIdentity{}
	c.now = c.now.Add(2 * time.Second)
	got := c.jobs()
	if len(got) != 2 || got[0][0] != "old" || len(got[0]) != 2 || got[1][0] != "new" {
		t.Fatalf("jobs %v", got)
	}
	jobs := [][]store.Pending{{*c.queue[0], *c.queue[2]}, {*c.queue[1]}}
	if largestFirst(jobs); jobs[0][0].Name != "new" {
		t.Errorf("on a full disk %v goes first", jobs[0])
	}
}

func TestBackOff(t *testing.T) {
	c, d := newClock(), &store.Dir{}
	p := c.add(d, "model.safetensors")
	c.add(d, "optimizer.safetensors")
	c.want(t, 2*time.Second, "model.safetensors", "optimizer.safetensors")
	c.queue = c.queue[:1]
	for _, wait := range []time.Duration{1, 2, 4, 8} {
		c.backOff(*p, c.now)
		c.want(t, wait*time.Second, "model.safetensors")
	}
	for range 100 {
		c.backOff(*p, c.now)
	}
	c.want(t, 256*time.Second, "model.safetensors")
}

func TestPutOffHoldsOneFile(t *testing.T) {
	c, d := newClock(), &store.Dir{}
	p := c.add(d, "model.safetensors")
	c.add(d, "optimizer.safetensors")
	c.want(t, 2*time.Second, "model.safetensors", "optimizer.safetensors")
	c.putOff(*p, c.now.Add(2*time.Second))
	c.want(t, 0, "optimizer.safetensors")
	c.queue = c.queue[:1]
	c.want(t, 2*time.Second, "model.safetensors")
}

// A settle time of zero is none.
func TestSettleZero(t *testing.T) {
	if got := (Options{}).withDefaults().Settle; got != 0 {
		t.Fatalf("settle time %v", got)
	}
	c := newClock()
	c.settle = 0
	p := c.add(new(store.Dir), "model.safetensors")
	p.Writing, p.Settled = true, time.Time{}
	if jobs := c.jobs(); len(jobs) != 0 {
		t.Fatalf("%v while it is written", jobs)
	}
	p.Writing, p.Settled = false, c.now
	if jobs := c.jobs(); len(jobs) != 1 {
		t.Fatalf("%v when it is closed", jobs)
	}
}
