package store

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"

	"excpfs/cache"
	"excpfs/host"

	"golang.org/x/sys/unix"
)

// Options of Open.
type Options struct {
	ReadOnly  bool // take no lock, change nothing
	CacheSize int64
	Log       *slog.Logger
}

// Store is an open store. Safe for concurrent use. Errors of its methods are
// syscall.Errno wrapped or plain, or the typed errors of archive.
type Store struct {
	host     *host.FS
	log      *slog.Logger
	readOnly bool
	path     string
	rootFile *os.File // has the lock
	root     *Dir
	cache    *cache.Cache
	sums     summaries
	cat      catalogue
	queue    queue

	ns          sync.RWMutex
	leftIntents []string // carried out, but not removed; guarded by ns, exclusively

	mu    sync.Mutex
	dirs  map[key]*Dir
	nodes map[uint64]*node    // files that are open, by the number users see
	alias map[key]uint64      // numbers of thawed files
	stale map[uint64]struct{} // swapped since they were last opened

	private struct {
		sync.Mutex
		*control
		seq uint64 // of temporary files and intents
	}

	openDirs atomic.Int64
	maxDirs  int64

	lazy sync.Once // the scan of a reader
	stop context.CancelFunc
	wg   sync.WaitGroup
}

// Open opens the folder at path. A writer takes the store's lock (flock on the folder
// itself: nothing is written into a folder only for being mounted; *LockedError names the
// holder), replays intents, empties tmp. .excpfs is made on the first change, with the
// root's mtime restored.
func Open(path string, o Options) (*Store, error) { return open(path, o, &host.FS{}) }

func open(path string, o Options, h *host.FS) (*Store, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	s := &Store{
		host: h, log: o.Log, readOnly: o.ReadOnly, path: abs, cache: cache.New(o.CacheSize),
		dirs: map[key]*Dir{}, nodes: map[uint64]*node{}, alias: map[key]uint64{}, stale: map[uint64]struct{}{},
	}
	s.maxDirs = maxDirs()
	s.cat.init()
	s.queue.init()
	if err := s.start(); err != nil {
		s.Close()
		return nil, fmt.Errorf("store: %w", err)
	}
	return s, nil
}

func (s *Store) start() (err error) {
	if s.rootFile, err = s.host.OpenRoot(s.path); err != nil {
		return &os.PathError{Op: "open", Path: s.path, Err: err}
	}
	fd := int(s.rootFile.Fd())
	st, err := s.host.Stat(fd, "")
	if err != nil {
		return err
	}
	s.root = &Dir{s: s, held: s.dirfd(fd), key: keyOf(&st), refs: 1}
	s.dirs[s.root.key] = s.root
	if !s.readOnly {
		if err := lock(s.rootFile, s.path); err != nil {
			return err
		}
	}
	if err := s.topmost(); err != nil {
		return err
	}
	c, err := s.openControl()
	if err != nil {
		return err
	}
	s.private.control = c
	if c != nil && !s.readOnly {
		if err := s.recover(c); err != nil {
			return err
		}
	}
	ctx, stop := context.WithCancel(context.Background())
	s.stop = stop
	if !s.readOnly {
		s.wg.Go(func() { s.scan(ctx); s.expire(ctx) })
	}
	return nil
}

// recover finishes what a crash left behind.
func (s *Store) recover(c *control) error {
	if err := s.replay(c); err != nil {
		return fmt.Errorf("replaying intents: %w", err)
	}
	if err := s.clear(c.tmp); err != nil {
		return fmt.Errorf("emptying tmp: %w", err)
	}
	if err := s.loadQueue(c); err != nil {
		return fmt.Errorf("reading the queue: %w", err)
	}
	return nil
}

// Close releases lock and descriptors; archives that handles hold stay open.
func (s *Store) Close() error {
	if s.stop != nil {
		s.stop()
	}
	s.wg.Wait()
	s.dropQueue()
	s.private.Lock()
	if s.private.control != nil {
		s.private.close()
	}
	s.private.Unlock()
	if s.rootFile == nil {
		return nil
	}
	return s.rootFile.Close()
}

// Path given to Open, made absolute.
func (s *Store) Path() string { return s.path }

// Root folder.
func (s *Store) Root() *Dir { return s.root.hold() }

// Statfs of the host.
func (s *Store) Statfs() (unix.Statfs_t, error) { return s.host.Statfs(s.root.fd()) }
