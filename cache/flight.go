package cache

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
)

// A flight is one computation under way and those who wait for it.
type flight struct {
	done    chan struct{}
	waiters int  // beside the one who computes; guarded by Cache.mu
	landed  bool // guarded by Cache.mu
	entry   *Entry
	err     error
}

var errAbandoned = errors.New("cache: computation abandoned") // by runtime.Goexit

// land computes and hands the result to all. It also does when compute panics
// or ends its goroutine, so that nobody waits for ever.
func (c *Cache) land(k Key, f *flight, compute func() ([]byte, error)) {
	var data []byte
	err := errAbandoned
	c.slots <- struct{}{}
	defer func() {
		<-c.slots
		if p := recover(); p != nil {
			err = fmt.Errorf("cache: panic: %v\n%s", p, debug.Stack())
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.flights, k)
		f.landed = true
		if f.err = err; err == nil {
			f.entry = &Entry{c: c, data: data}
			c.pin(f.entry, 1+f.waiters)
			c.keep(k, f.entry)
			c.evict()
		}
		close(f.done)
	}()
	data, err = compute()
}

// wait returns the result, which is pinned for the waiter, or ends with its context.
func (f *flight) wait(ctx context.Context, c *Cache) (*Entry, error) {
	select {
	case <-f.done:
		return f.entry, f.err
	case <-ctx.Done():
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if f.landed {
		return f.entry, f.err
	}
	f.waiters--
	return nil, context.Cause(ctx)
}
