package seal

import (
	"cmp"
	"slices"
	"time"

	"excpfs/store"
)

// key names a pending file while it is in the queue.
type key struct {
	dir  *store.Dir
	name string
}

func keyOf(p store.Pending) key { return key{p.Dir, p.Name} }

// settler decides when the files of a folder are due. It is given the queue
// again and again, and knows the time only from that.
type settler struct {
	settle, maxWait time.Duration
	// tensor says whether a file that is being written looks like tensors.
	tensor func(store.Pending) bool

	last  time.Time
	files map[key]*waiting
}

// waiting is what is known of one pending file.
type waiting struct {
	total    time.Duration // waited so far
	counting bool          // nobody was writing tensors beside it when last seen
	until    time.Time     // put off: not before then
	tries    int           // how often it was put off for a fault of the store
}

// putOff keeps a file in the queue and away from jobs for a while.
func (s *settler) putOff(p store.Pending, until time.Time) {
	if w := s.files[keyOf(p)]; w != nil {
		w.until = until
	}
}

// backOff puts a file off for a second, then two, four, up to about four minutes. again: not for the first time.
func (s *settler) backOff(p store.Pending, now time.Time) (again bool) {
	w := s.files[keyOf(p)]
	if w == nil {
		return false
	}
	w.until = now.Add(time.Second << min(w.tries, 8))
	w.tries++
	return w.tries > 1
}

// due returns the jobs whose time has come, the folder that queued first in front.
func (s *settler) due(now time.Time, pending []store.Pending) [][]store.Pending {
	folders := group(pending)
	s.observe(now, folders)
	var jobs [][]store.Pending
	for _, f := range folders {
		if s.quiet(now, f) || s.overdue(f) {
			if job := s.ready(now, f); len(job) > 0 {
				jobs = append(jobs, job)
			}
		}
	}
	return jobs
}

// observe counts how long each file waits, and forgets those that left the queue.
func (s *settler) observe(now time.Time, folders [][]store.Pending) {
	elapsed := now.Sub(s.last)
	files := map[key]*waiting{}
	for _, f := range folders {
		calm := !slices.ContainsFunc(f, func(p store.Pending) bool { return p.Writing && s.tensor(p) })
		for _, p := range f {
			w, counting := s.files[keyOf(p)], calm && !p.Writing
			switch {
			case w == nil:
				w = &waiting{}
			case w.counting && counting:
				w.total += elapsed
			}
			w.counting = counting
			files[keyOf(p)] = w
		}
	}
	s.last, s.files = now, files
}

// quiet: nothing of the folder is open, and it has been so for the settle time.
func (s *settler) quiet(now time.Time, f []store.Pending) bool {
	for _, p := range f {
		if p.Writing || p.Open || now.Sub(p.Settled) < s.settle {
			return false
		}
	}
	return true
}

func (s *settler) overdue(f []store.Pending) bool {
	for _, p := range f {
		if w := s.files[keyOf(p)]; w.counting && w.total >= s.maxWait {
			return true
		}
	}
	return false
}

// ready are the files of a folder that may be worked on.
func (s *settler) ready(now time.Time, f []store.Pending) []store.Pending {
	var job []store.Pending
	for _, p := range f {
		if !p.Writing && !p.Open && now.Sub(p.Settled) >= s.settle && !now.Before(s.files[keyOf(p)].until) {
			job = append(job, p)
		}
	}
	return job
}

// group sorts the queue into folders, the one that queued first in front.
func group(pending []store.Pending) [][]store.Pending {
	at := map[*store.Dir]int{}
	var folders [][]store.Pending
	for _, p := range pending {
		i, ok := at[p.Dir]
		if !ok {
			i = len(folders)
			at[p.Dir] = i
			folders = append(folders, nil)
		}
		folders[i] = append(folders[i], p)
	}
	slices.SortStableFunc(folders, func(a, b []store.Pending) int {
		return cmp.Compare(oldest(a).UnixNano(), oldest(b).UnixNano())
	})
	return folders
}

func oldest(f []store.Pending) time.Time {
	t := f[0].Queued
	for _, p := range f {
		if p.Queued.Before(t) {
			t = p.Queued
		}
	}
	return t
}

// largestFirst orders jobs by what they hold: on a full disk the one that frees most goes first.
func largestFirst(jobs [][]store.Pending) {
	size := func(f []store.Pending) (n int64) {
		for _, p := range f {
			n += p.ID.Size
		}
		return n
	}
	slices.SortStableFunc(jobs, func(a, b []store.Pending) int { return cmp.Compare(size(b), size(a)) })
}
