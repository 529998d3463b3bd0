package fs

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// tracer notes the requests that reach the server, a line each, in the order of their arrival.
type tracer struct {
	fuse.RawFileSystem
	mu    sync.Mutex
	file  *os.File
	names map[uint64]string
	panic bool
}

func newTracer(raw fuse.RawFileSystem, s setup) *tracer {
	r := &tracer{RawFileSystem: raw, names: map[uint64]string{}, panic: s.Panic}
	if s.Trace != "" {
		f, err := os.OpenFile(s.Trace, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o666)
		check(err)
		r.file = f
	}
	return r
}

func (r *tracer) note(node uint64, format string, a ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.file != nil {
		line := strings.TrimSpace(fmt.Sprintf(format, a...) + " " + r.names[node])
		fmt.Fprintln(r.file, line)
	}
}

func (r *tracer) learn(node uint64, name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.names[node] = name
}

func (r *tracer) Lookup(c <-chan struct{}, h *fuse.InHeader, name string, out *fuse.EntryOut) fuse.Status {
	s := r.RawFileSystem.Lookup(c, h, name, out)
	if s.Ok() && out.NodeId != 0 {
		r.learn(out.NodeId, name)
	}
	return s
}

func (r *tracer) Create(c <-chan struct{}, in *fuse.CreateIn, name string, out *fuse.CreateOut) fuse.Status {
	r.note(0, "CREATE %s", name)
	s := r.RawFileSystem.Create(c, in, name, out)
	r.learn(out.NodeId, name)
	return s
}

func (r *tracer) Open(c <-chan struct{}, in *fuse.OpenIn, out *fuse.OpenOut) fuse.Status {
	word := "OPEN"
	if in.Flags&syscall.O_TRUNC != 0 {
		word = "OPEN-TRUNC"
	}
	s := r.RawFileSystem.Open(c, in, out)
	for bit, name := range map[uint32]string{fuse.FOPEN_KEEP_CACHE: "+keep", fuse.FOPEN_PASSTHROUGH: "+passthrough", fuse.FOPEN_DIRECT_IO: "+direct"} {
		if out.OpenFlags&bit != 0 {
			word += name
		}
	}
	r.note(in.NodeId, "%s", word)
	return s
}

func (r *tracer) Read(c <-chan struct{}, in *fuse.ReadIn, buf []byte) (fuse.ReadResult, fuse.Status) {
	r.note(in.NodeId, "READ")
	if r.panic && r.name(in.NodeId) == "panic" {
		panic("for the test")
	}
	return r.RawFileSystem.Read(c, in, buf)
}

func (r *tracer) name(node uint64) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.names[node]
}

func (r *tracer) Write(c <-chan struct{}, in *fuse.WriteIn, data []byte) (uint32, fuse.Status) {
	r.note(in.NodeId, "WRITE")
	return r.RawFileSystem.Write(c, in, data)
}

func (r *tracer) Writev(c <-chan struct{}, in *fuse.WriteIn, data [][]byte) (uint32, fuse.Status) {
	r.note(in.NodeId, "WRITE")
	return r.RawFileSystem.Writev(c, in, data)
}

func (r *tracer) SetAttr(c <-chan struct{}, in *fuse.SetAttrIn, out *fuse.AttrOut) fuse.Status {
	r.note(in.NodeId, "SETATTR")
	return r.RawFileSystem.SetAttr(c, in, out)
}

func (r *tracer) GetXAttr(c <-chan struct{}, h *fuse.InHeader, attr string, dest []byte) (uint32, fuse.Status) {
	r.note(h.NodeId, "GETXATTR %s", attr)
	return r.RawFileSystem.GetXAttr(c, h, attr, dest)
}

func (r *tracer) Flush(c <-chan struct{}, in *fuse.FlushIn) fuse.Status {
	r.note(in.NodeId, "FLUSH")
	return r.RawFileSystem.Flush(c, in)
}

func (r *tracer) Fsync(c <-chan struct{}, in *fuse.FsyncIn) fuse.Status {
	r.note(in.NodeId, "FSYNC")
	return r.RawFileSystem.Fsync(c, in)
}

func (r *tracer) Release(c <-chan struct{}, in *fuse.ReleaseIn) {
	r.RawFileSystem.Release(c, in)
	r.note(in.NodeId, "RELEASE")
}

func (r *tracer) Rename(c <-chan struct{}, in *fuse.RenameIn, old, new string) fuse.Status {
	r.note(0, "RENAME %s %s", old, new)
	return r.RawFileSystem.Rename(c, in, old, new)
}

func (r *tracer) Unlink(c <-chan struct{}, h *fuse.InHeader, name string) fuse.Status {
	r.note(0, "UNLINK %s", name)
	return r.RawFileSystem.Unlink(c, h, name)
}
