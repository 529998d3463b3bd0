package store

import (
	"slices"
	"strings"
	"sync"
	"time"

	"excpfs/archive"
)

// known is an archive in the catalogue.
type known struct {
	path     string // store-relative, as users see it; of a retained one where it was, "" if that is not known
	retained bool
	hidden   bool // behind a plain file of its name
	key      key
	summary  *archive.Summary
	mtime    int64
	since    int64 // ctime: of a retained one when it was retained
}

// catalogue knows the archives of the store, live and retained, once the scan is complete; before that,
// those seen so far. Safe for concurrent use; it calls nothing.
type catalogue struct {
	mu       sync.Mutex
	live     map[string]*known     // by path
	retained map[archive.ID]*known // by content: one each
	id       map[archive.ID]set
	schema   map[archive.ID]set
	needed   map[archive.ID]int // archives that list the content as a dependency
	complete bool
	moves    int       // renames of folders, for the scan
	scanned  time.Time // when the last scan ended
	ready    chan struct{}
	once     sync.Once
	changed  chan struct{} // gets a value when there may be another archive to expire
}

type set map[*known]struct{}

func (c *catalogue) init() {
	c.live, c.retained = map[string]*known{}, map[archive.ID]*known{}
	c.id, c.schema, c.needed = map[archive.ID]set{}, map[archive.ID]set{}, map[archive.ID]int{}
	c.ready, c.changed = make(chan struct{}), make(chan struct{}, 1)
}

func (c *catalogue) nudge() {
	select {
	case c.changed <- struct{}{}:
	default:
	}
}

// link and unlink keep the maps by content. Need c.mu.
func (c *catalogue) link(k *known) {
	for _, m := range []struct {
		m  map[archive.ID]set
		id archive.ID
	}{{c.id, k.summary.ID}, {c.schema, k.summary.Schema}} {
		if m.m[m.id] == nil {
			m.m[m.id] = set{}
		}
		m.m[m.id][k] = struct{}{}
	}
	for _, d := range k.summary.Deps {
		c.needed[d.ID]++
	}
}

func (c *catalogue) unlink(k *known) {
	delete(c.id[k.summary.ID], k)
	delete(c.schema[k.summary.Schema], k)
	if len(c.id[k.summary.ID]) == 0 {
		delete(c.id, k.summary.ID)
	}
	if len(c.schema[k.summary.Schema]) == 0 {
		delete(c.schema, k.summary.Schema)
	}
	for _, d := range k.summary.Deps {
		if c.needed[d.ID]--; c.needed[d.ID] == 0 {
			delete(c.needed, d.ID)
			c.nudge()
		}
	}
}

// add enters an archive at a path, or a retained one.
func (c *catalogue) add(k *known) {
	c.mu.Lock()
	defer c.mu.Unlock()
	old := c.live[k.path]
	if k.retained {
		old = c.retained[k.summary.ID]
	}
	if old != nil {
		c.unlink(old)
	}
	if k.retained {
		c.retained[k.summary.ID] = k
		c.nudge()
	} else {
		c.live[k.path] = k
	}
	c.link(k)
}

// remove forgets what was at a path.
func (c *catalogue) remove(path string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if k := c.live[path]; k != nil {
		c.unlink(k)
		delete(c.live, path)
	}
}

// unretain forgets a retained archive.
func (c *catalogue) unretain(id archive.ID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if k := c.retained[id]; k != nil {
		c.unlink(k)
		delete(c.retained, id)
	}
}

// rename moves one path; what was at the new one is gone.
func (c *catalogue) rename(from, to string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.move(from, to)
}

// move needs c.mu.
func (c *catalogue) move(from, to string) {
	if old := c.live[to]; old != nil {
		c.unlink(old)
		delete(c.live, to)
	}
	if k := c.live[from]; k != nil {
		delete(c.live, from)
		moved := *k // those handed out do not change
		moved.path = to
		c.unlink(k)
		c.live[to] = &moved
		c.link(&moved)
	}
}

// renameFolder moves everything under a folder.
func (c *catalogue) renameFolder(from, to string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.moves++
	var paths []string
	for path := range c.live {
		if strings.HasPrefix(path, from+"/") {
			paths = append(paths, path)
		}
	}
	for _, path := range paths {
		c.move(path, to+path[len(from):])
	}
}

// pathOf is where a content is live now, "" where it is not known to be.
func (c *catalogue) pathOf(id archive.ID, hint string) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if k := c.live[hint]; k != nil && k.summary.ID == id {
		return hint
	}
	for k := range c.id[id] {
		if !k.retained && !k.hidden {
			return k.path
		}
	}
	return ""
}

// content lists the archives of a content, live ones first.
func (c *catalogue) content(id archive.ID) (all []*known) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for k := range c.id[id] {
		all = append(all, k)
	}
	for i, k := range all {
		if !k.retained && !k.hidden {
			all[0], all[i] = all[i], all[0]
			break
		}
	}
	return all
}

// ofSchema lists the archives of a schema.
func (c *catalogue) ofSchema(schema archive.ID) (all []*known) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for k := range c.schema[schema] {
		if !k.hidden {
			all = append(all, k)
		}
	}
	return all
}

// names lists the paths of a host file with several links.
func (c *catalogue) names(k key) (paths []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for path, e := range c.live {
		if e.key == k {
			paths = append(paths, path)
		}
	}
	return paths
}

// mustRetain tells whether an archive that is about to lose its names at paths has to stay in the store.
// thaw: its content is about to be edited, and tells then what is to be kept exactly.
func (c *catalogue) mustRetain(paths []string, sum *archive.Summary, mtime int64, thaw bool) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.complete || thaw {
		return true
	}
	for k := range c.id[sum.ID] {
		if k.retained || !k.hidden && !slices.Contains(paths, k.path) {
			return false // the content is elsewhere, too
		}
	}
	return c.needed[sum.ID] > 0 || !c.succeeded(sum, mtime)
}

// succeeded tells whether the schema has a newer archive of another content. Needs c.mu.
func (c *catalogue) succeeded(sum *archive.Summary, mtime int64) bool {
	for k := range c.schema[sum.Schema] {
		if k.mtime > mtime && k.summary.ID != sum.ID {
			return true
		}
	}
	return false
}

// grace is how long the newest archive of a schema outlives its name.
var grace = time.Hour // shorter in tests

// shown tells whether a content has a name. Needs c.mu.
func (c *catalogue) shown(id archive.ID) bool {
	for k := range c.id[id] {
		if !k.retained && !k.hidden {
			return true
		}
	}
	return false
}

// expired lists the retained archives that nothing needs any more.
func (c *catalogue) expired(now time.Time) (all []*known) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.complete {
		return nil
	}
	for id, k := range c.retained {
		switch {
		case c.shown(id):
		case c.needed[id] > 0:
			continue
		case c.succeeded(k.summary, k.mtime):
		case now.Sub(time.Unix(0, k.since)) < grace:
			continue
		}
		all = append(all, k)
	}
	return all
}

// expiry is when the grace of a retained archive that nothing needs ends first; false: there is none.
func (c *catalogue) expiry() (first time.Time, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for id, k := range c.retained {
		if end := time.Unix(0, k.since).Add(grace); c.needed[id] == 0 && (!ok || end.Before(first)) {
			first, ok = end, true
		}
	}
	return first, ok
}

// hidden lists the paths at which an archive stands behind a plain file.
func (c *catalogue) hidden() (paths []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.complete {
		return nil
	}
	for path, k := range c.live {
		if k.hidden {
			paths = append(paths, path)
		}
	}
	return paths
}
