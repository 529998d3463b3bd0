package seal

import (
	"log/slog"
	"runtime"
	"time"

	"excpfs/archive"
	"excpfs/cache"
	"excpfs/store"
)

// Defaults of Options.
const (
	DefaultMaxWait  = time.Minute
	DefaultMaxDepth = 8
)

// cacheSize is for decoding bases and for verifying: both pass over a file once.
const cacheSize = 64 << 20 // bytes

// Options of a Sealer.
type Options struct {
	Profile  archive.Profile
	Settle   time.Duration // quiet time after the last close
	MaxWait  time.Duration // default 60 s, not running while a tensor file of the folder is open for writing
	MaxDepth int           // default 8
	Workers  int           // default GOMAXPROCS
	Base     string        // store-relative path of a base to use instead of choosing (pack --base)
	Progress func(Event)   // may be nil
	Idle     bool          // nice 19 and idle I/O priority (beside a mount)
	Log      *slog.Logger  // of what failed, and of what stays plain and is not small, once a file; nil: nowhere
}

func (o Options) withDefaults() Options {
	if o.MaxWait <= 0 {
		o.MaxWait = DefaultMaxWait
	}
	if o.MaxDepth <= 0 {
		o.MaxDepth = DefaultMaxDepth
	}
	if o.Workers <= 0 {
		o.Workers = runtime.GOMAXPROCS(0)
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return o
}

// Event tells of one file.
type Event struct {
	Path    string
	Logical int64
	Stored  int64  // 0: stays plain
	Reason  string // why it stays plain
	Err     error  // if because something went wrong
	Waiting bool   // it is still in the queue
}

// Sealer works through the store's queue. Safe for concurrent use; one job runs at a time.
type Sealer struct {
	s       *store.Store
	o       Options
	cache   *cache.Cache
	turn    chan struct{} // holds a value while nobody works; guards what follows
	settler *settler
	fitted  bool // Options.Base fitted some file
}

// New makes one; Run works until ctx ends, then stops after the swap under way.
func New(s *store.Store, o Options) *Sealer {
	o = o.withDefaults()
	l := &Sealer{s: s, o: o, cache: cache.New(cacheSize), turn: make(chan struct{}, 1)}
	l.settler = &settler{settle: o.Settle, maxWait: o.MaxWait, tensor: l.looksLikeTensors}
	l.turn <- struct{}{}
	return l
}

func (l *Sealer) tell(e Event) Event {
	if l.o.Progress != nil {
		l.o.Progress(e)
	}
	return e
}
