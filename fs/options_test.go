package fs

import (
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"excpfs/store"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// Each option was measured or has a reason in options; none may change by the way.
func TestOptions(t *testing.T) {
	dir := filepath.Join(tempDir(t), "store")
	ok(t, os.Mkdir(dir, 0o755))
	s, err := store.Open(dir, store.Options{})
	ok(t, err)
	defer s.Close()
	root := s.Root()
	defer root.Release()
	a, err := root.Attr()
	ok(t, err)
	for _, ro := range []bool{false, true} {
		o := Options{AllowOther: true, ReadOnly: ro, Log: slog.New(slog.DiscardHandler)}
		tr := newTree(s, o)
		got := tr.options(o, a)
		m := got.MountOptions
		depth := stackDepth(dir)
		for _, c := range []struct {
			what      string
			got, want any
		}{
			{"entry timeout", *got.EntryTimeout, time.Second},
			{"attr timeout", *got.AttrTimeout, time.Second},
			{"negative timeout", *got.NegativeTimeout, 100 * time.Millisecond},
			{"null permissions", got.NullPermissions, true},
			{"root inode", got.RootStableAttr.Ino, a.Ino},
			{"device", m.FsName, dir},
			{"type", m.Name, "excpfs"},
			{"allow_other", m.AllowOther, true},
			{"debug", m.Debug, false},
			{"disable splice", m.DisableSplice, true},
			{"largest write", m.MaxWrite, 1 << 20},
			{"background requests", m.MaxBackground, 64},
			{"bytes in flight", m.MaxInflightRequestBytes, 128 << 20},
			{"ACLs", m.EnableAcl, true},
			{"locks", m.EnableLocks, false},
			{"synchronous reads", m.SyncRead, false},
			{"read-ahead", m.MaxReadAhead, 0},
			{"xattrs", m.DisableXAttrs, false},
			{"readdirplus", m.DisableReadDirPlus, false},
			{"one thread", m.SingleThreaded, false},
			{"stack depth", m.MaxStackDepth, depth},
			{"panic handler", m.PanicHandler != nil, true},
			{"KILLPRIV_V2", m.ExtraCapabilities&fuse.CAP_HANDLE_KILLPRIV_V2 != 0, true},
			{"ATOMIC_O_TRUNC", m.ExtraCapabilities&fuse.CAP_ATOMIC_O_TRUNC != 0, true},
			{"ASYNC_DIO", m.ExtraCapabilities&fuse.CAP_ASYNC_DIO != 0, true},
			{"DIRECT_IO_ALLOW_MMAP", m.ExtraCapabilities&fuse.CAP_DIRECT_IO_ALLOW_MMAP != 0, true},
			{"writeback cache", m.ExtraCapabilities&fuse.CAP_WRITEBACK_CACHE != 0, false},
			{"default_permissions", slices.Contains(m.Options, "default_permissions"), true},
		} {
			if c.got != c.want {
				t.Errorf("%s is %v (%T), want %v (%T)", c.what, c.got, c.got, c.want, c.want)
			}
		}
		asRoot := os.Geteuid() == 0
		if m.DirectMountStrict != asRoot {
			t.Errorf("mounts directly: %v", m.DirectMountStrict)
		}
		var flags uintptr
		if asRoot {
			flags = syscall.MS_NOSUID | syscall.MS_NODEV
		}
		if asRoot && ro {
			flags |= syscall.MS_RDONLY
		}
		if m.DirectMountFlags != flags || slices.Contains(m.Options, "ro") != (ro && !asRoot) {
			t.Errorf("read-only %v: flags %#x, options %q", ro, m.DirectMountFlags, m.Options)
		}
	}
	if readAheadKB != 2048 || blockSize != 1<<20 {
		t.Errorf("read-ahead %d KiB, blocks of %d", readAheadKB, blockSize)
	}
}
