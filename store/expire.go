package store

import (
	"context"
	"time"
)

// expire sweeps when the grace of a retained archive ends, until ctx does.
func (s *Store) expire(ctx context.Context) {
	t := time.NewTimer(grace)
	defer t.Stop()
	for {
		if end, ok := s.cat.expiry(); ok {
			t.Reset(max(time.Until(end), grace/60)) // one that has to stay on for a queued file is looked at again
		} else {
			t.Stop()
		}
		select {
		case <-ctx.Done():
			return
		case <-s.cat.changed:
		case <-t.C:
			s.ns.Lock()
			s.sweep()
			s.ns.Unlock()
		}
	}
}
