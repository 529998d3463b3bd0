package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"sync"

	"excpfs/archive"
	"excpfs/host"

	"golang.org/x/sys/unix"
)

// Attr is what stat shows: the host's, with the stable inode number, the logical size
// of a sealed file and the blocks its archive occupies (never 0 for a file with bytes).
type Attr struct {
	unix.Statx_t
}

// key is a host file: inode numbers are used again, together with the birth time they are not.
type key struct {
	ino   uint64
	btime int64
}

func keyOf(st *unix.Statx_t) key { return key{st.Ino, host.Nanos(st.Btime)} }

func (k key) String() string { return fmt.Sprintf("%d.%d", k.ino, k.btime) }

func parseKey(text string) (k key, err error) {
	_, err = fmt.Sscanf(text, "%d.%d", &k.ino, &k.btime)
	return k, err
}

func identityOf(st *unix.Statx_t) archive.FileIdentity {
	return archive.FileIdentity{Ino: st.Ino, Size: int64(st.Size), Mtime: host.Nanos(st.Mtime), Ctime: host.Nanos(st.Ctime)}
}

// reserved numbers mean other things to FUSE.
func reserved(ino uint64) bool { return ino < 2 || ino == ^uint64(0) }

// fresh is the inode number of a file that has none from elsewhere.
func (k key) fresh() uint64 {
	h := fnv.New64a()
	var b [16]byte
	binary.LittleEndian.PutUint64(b[:], k.ino)
	binary.LittleEndian.PutUint64(b[8:], uint64(k.btime))
	h.Write(b[:])
	n := mix(h.Sum64())
	if reserved(n) {
		n ^= 1 << 62
	}
	return n
}

// mix spreads neighbouring inputs over all bits (the finalizer of SplitMix64).
func mix(x uint64) uint64 {
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// sealed is what is known of a host file called *.excp.
type sealed struct {
	file    archive.FileIdentity // when it was read
	is      bool                 // begins as an archive
	err     error                // why it cannot be used, if it is one
	summary *archive.Summary
	trailer archive.Trailer
}

// summaries remembers them by host file. Safe for concurrent use.
type summaries struct {
	mu sync.Mutex
	m  map[key]*sealed
}

const summariesMax = 1 << 18

func (c *summaries) get(st *unix.Statx_t) *sealed {
	c.mu.Lock()
	defer c.mu.Unlock()
	if a := c.m[keyOf(st)]; a != nil && sameBytes(a.file, identityOf(st)) {
		return a
	}
	return nil
}

// sameBytes ignores the ctime, which links and renames change: nobody writes into an archive.
func sameBytes(a, b archive.FileIdentity) bool {
	return a.Ino == b.Ino && a.Size == b.Size && (a.Mtime == b.Mtime || a.Ctime == b.Ctime)
}

func (c *summaries) put(st *unix.Statx_t, a *sealed) {
	a.file = identityOf(st)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.m == nil || len(c.m) >= summariesMax {
		c.m = map[key]*sealed{}
	}
	c.m[keyOf(st)] = a
}

// inspect reads the summary of a host file called *.excp, or remembers it.
func (s *Store) inspect(dir int, name, path string, st *unix.Statx_t) (*sealed, error) {
	if a := s.sums.get(st); a != nil {
		return a, nil
	}
	f, err := s.host.Open(dir, name, unix.O_RDONLY, 0, path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	a := &sealed{is: true}
	sum, trailer, err := archive.ReadSummary(f, int64(st.Size), path)
	switch {
	case errors.Is(err, archive.ErrNotArchive):
		a.is = false
	case hostError(err): // it may be read another time
		return nil, err
	case err != nil:
		a.err = err
		s.log.Error("archive cannot be used", "path", path, "reason", err)
	default:
		a.summary, a.trailer = &sum, trailer
	}
	s.sums.put(st, a)
	return a, nil
}

// hostError: the host is at fault, not the archive.
func hostError(err error) bool { return errors.As(err, new(unix.Errno)) }

// number is the inode number users see. s.mu must not be held.
func (s *Store) number(st *unix.Statx_t, a *sealed) uint64 {
	k := keyOf(st)
	s.mu.Lock()
	n, ok := s.alias[k]
	s.mu.Unlock()
	switch {
	case ok:
		return n
	case a != nil && a.summary != nil && !reserved(a.trailer.Ino) && a.trailer.HostIno == k.ino && a.trailer.Btime == k.btime:
		return a.trailer.Ino
	}
	return k.fresh()
}

// attr is what users see of a host file; a is nil for a plain one.
func (s *Store) attr(st unix.Statx_t, a *sealed) Attr {
	n := s.number(&st, a)
	if a != nil && a.summary != nil {
		st.Size = uint64(a.summary.Size)
	}
	if a != nil && st.Size > 0 && st.Blocks == 0 {
		st.Blocks = 1
	}
	st.Ino = n
	return Attr{st}
}
