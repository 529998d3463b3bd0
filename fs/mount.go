package fs

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"sync"
	"syscall"

	"excpfs/store"

	fusefs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// Options of Mount.
type Options struct {
	AllowOther bool
	ReadOnly   bool
	Debug      bool
	Log        *slog.Logger

	noPassthrough bool                                        // for tests
	wrap          func(fuse.RawFileSystem) fuse.RawFileSystem // for tests: to see requests
}

// Server serves one mount point.
type Server struct {
	fuse       *fuse.Server
	mountpoint string
	mu         sync.Mutex // of Unmount
}

// name is what /proc/mounts shows after "fuse.".
const name = "excpfs"

// readAheadKB is how far the kernel reads ahead in files of the mount: best between 1 and 4 MiB.
const readAheadKB = 2048

// Mount mounts a store and returns when it answers. A dead mount at the place is cleaned up first.
// Errors are for people: no /dev/fuse, no fusermount3 (package fuse3), mount point missing, not a folder, not empty.
// It clears the umask of the process.
func Mount(s *store.Store, mountpoint string, o Options) (*Server, error) {
	if o.Log == nil {
		o.Log = slog.Default()
	}
	mountpoint, err := prepare(mountpoint, s.Path())
	if err != nil {
		return nil, err
	}
	unix.Umask(0) // requests bring modes from which the caller's is taken already
	t := newTree(s, o)
	root := t.newDirNode(s.Root())
	a, err := root.dir.Attr()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", s.Path(), err)
	}
	opts := t.options(o, a)
	raw := fusefs.NewNodeFS(root, opts)
	if o.wrap != nil {
		raw = o.wrap(raw)
	}
	server, err := fuse.NewServer(raw, mountpoint, &opts.MountOptions)
	if err != nil {
		return nil, explain(mountpoint, err)
	}
	t.backing.server = server
	go server.Serve()
	v := &Server{fuse: server, mountpoint: mountpoint}
	if err := server.WaitMount(); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", mountpoint, err), v.Unmount())
	}
	if err := readAhead(mountpoint); err != nil {
		o.Log.Debug("read-ahead stays as it is", "cause", err)
	}
	return v, nil
}

func newTree(s *store.Store, o Options) *tree {
	t := &tree{store: s, log: o.Log, passthrough: !o.noPassthrough && os.Geteuid() == 0}
	t.backing.known = map[uint64]bool{}
	return t
}

// options of the mount. What is not set is off for a reason: the writeback cache moves errors to close, and without
// EnableLocks the kernel keeps locks itself. READs are 1 MiB only with the read-ahead that Mount sets.
func (t *tree) options(o Options, root store.Attr) *fusefs.Options {
	entry, attr, negative, id := validity, validity, negativeValidity, stable(root)
	logger := slog.NewLogLogger(o.Log.Handler(), slog.LevelWarn)
	opts := &fusefs.Options{
		EntryTimeout: &entry, AttrTimeout: &attr, NegativeTimeout: &negative,
		NullPermissions: true, RootStableAttr: &id, Logger: logger,
	}
	opts.MountOptions = fuse.MountOptions{
		FsName: t.store.Path(), Name: name, AllowOther: o.AllowOther, Debug: o.Debug, Logger: logger,
		Options:                 []string{"default_permissions"},
		DisableSplice:           true, // it fails for every READ of 1 MiB, and logs it
		MaxWrite:                1 << 20,
		MaxBackground:           64, // decodes run side by side
		MaxInflightRequestBytes: 128 << 20,
		EnableAcl:               true, // else the kernel takes the mask of an ACL for the rights of the group
		MaxStackDepth:           stackDepth(t.store.Path()),
		PanicHandler:            t.panicked,
		ExtraCapabilities: fuse.CAP_HANDLE_KILLPRIV_V2 | fuse.CAP_ATOMIC_O_TRUNC |
			fuse.CAP_ASYNC_DIO | fuse.CAP_DIRECT_IO_ALLOW_MMAP,
	}
	if os.Geteuid() == 0 {
		opts.DirectMountStrict, opts.DirectMountFlags = true, syscall.MS_NOSUID|syscall.MS_NODEV
	}
	if o.ReadOnly {
		opts.Options = append(opts.Options, "ro")
	}
	if o.ReadOnly && opts.DirectMountStrict { // a flag of mount(2), not an option of the filesystem
		opts.DirectMountFlags |= syscall.MS_RDONLY
		opts.Options = opts.Options[:1]
	}
	return opts
}

// stackDepth that passing files through takes: 2 where the store itself lies on a stacked filesystem.
func stackDepth(path string) int {
	var st unix.Statfs_t
	if unix.Statfs(path, &st) == nil && st.Type == unix.OVERLAYFS_SUPER_MAGIC {
		return 2
	}
	return 1
}

// readAhead raises what the kernel reads ahead; the offer in INIT can only lower it.
func readAhead(mountpoint string) error {
	var st unix.Stat_t
	if err := unix.Stat(mountpoint, &st); err != nil {
		return err
	}
	bdi := fmt.Sprintf("/sys/class/bdi/%d:%d/read_ahead_kb", unix.Major(st.Dev), unix.Minor(st.Dev))
	return os.WriteFile(bdi, fmt.Append(nil, readAheadKB), 0)
}

// explain says what is missing when mounting fails.
func explain(mountpoint string, err error) error {
	if _, e := os.Stat("/dev/fuse"); errors.Is(e, fs.ErrNotExist) {
		return fmt.Errorf("%s: cannot mount, there is no /dev/fuse (load the kernel module fuse; in a container, pass the device in)", mountpoint)
	}
	if os.Geteuid() != 0 {
		if _, e := exec.LookPath("fusermount3"); e != nil {
			return fmt.Errorf("%s: cannot mount without fusermount3: install the package fuse3, or mount as root", mountpoint)
		}
		if e := unix.Access("/dev/fuse", unix.R_OK|unix.W_OK); e != nil {
			return fmt.Errorf("%s: cannot mount, /dev/fuse is closed to you: %w", mountpoint, e)
		}
	}
	if errors.Is(err, syscall.EPERM) {
		return fmt.Errorf("%s: mounting is not permitted here (in a container, add the capability SYS_ADMIN): %w", mountpoint, err)
	}
	return fmt.Errorf("%s: cannot mount: %w", mountpoint, err)
}

// Wait returns when the mount is gone.
func (v *Server) Wait() { v.fuse.Wait() }

// Unmount detaches: orderly, lazily when busy. A busy mount is served until its last file is closed: see Wait.
func (v *Server) Unmount() error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if mounted, err := mountAt(v.mountpoint); err == nil && mounted == nil {
		return nil // by somebody else
	}
	if v.fuse.Unmount() == nil {
		return nil
	}
	return detach(v.mountpoint)
}
