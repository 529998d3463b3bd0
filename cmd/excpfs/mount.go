package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"golang.org/x/sys/unix"

	"excpfs/archive"
	"excpfs/fs"
	"excpfs/seal"
	"excpfs/store"
)

const mountHelp = `
usage: excpfs mount [FLAGS] STORE MOUNTPOINT

Shows the folder STORE at MOUNTPOINT, an empty folder, and returns when it is
there; a daemon goes on serving it. Files below STORE look as they always did.
A file of tensors written into the mount (safetensors, PyTorch's own, .distcp) is
compressed in the background once it, and its folder, have been quiet for the
settle time. Files that were in STORE before stay as they are (excpfs pack
--in-place compresses them).

Profile excp, the default, is lossy: changes of weights below a threshold and
small moments become zero, the others one of 15 values a tensor. The first
checkpoint's weights, 1-D and small weights, integers, and everything that is not
a float tensor keep every bit; only the checksums inside a PyTorch file follow
the tensors. Profile exact keeps every bit of everything.

getfattr -d shows of each file in the mount, as user.excpfs.NAME:
  state    plain, plain: REASON (not to be compressed), settling (waits until it
           is quiet), sealing (being compressed), sealed, or failed: REASON
  profile  excp or exact
  base     the file it is a difference to, "retained ID" if that was deleted
  depth    how many files in a row are decoded to read it
  stored   bytes on disk
  ratio    size over bytes on disk
  error    relative RMS error by role: weight, exp_avg, exp_avg_sq; 0 is exact
and of the mount point itself, by getfattr -n:
  store    the folder behind it
  pid      the daemon's process number

SIGTERM ends the daemon in order: it compresses what waits, for at most 30
seconds, and unmounts. What was not compressed by then is whole, and next time's.
The daemon's log is in /var/log/excpfs, or ~/.local/state/excpfs for a user who
is not root, unless --log says where.

In /etc/fstab, with mount.excpfs a symlink to excpfs in /sbin:
  /data/store  /mnt/ckpt  excpfs  profile=exact,allow_other,nofail  0 0

Example:
  excpfs mount --profile exact /data/store /mnt/ckpt
`

// drainTime is how long a daemon told to end goes on compressing.
const drainTime = 30 * time.Second

type mountConfig struct {
	store, point string
	foreground   bool
	debug        bool
	options      mountOptions
	profile      archive.Profile
	settle       time.Duration
	cache        size
	workers      int
	log          string
}

func runMount(_ context.Context, args []string) error {
	c, err := parseMount(args)
	if err != nil {
		return err
	}
	ready := readyPipe()
	if !c.foreground && ready == nil {
		return spawn(c)
	}
	if err := serve(c, ready); err != nil {
		return ready.fail(err)
	}
	return nil
}

func parseMount(args []string) (mountConfig, error) {
	var (
		c mountConfig
		p profileFlags
	)
	f := newFlags("mount", mountHelp)
	c.cache = defaultCache()
	p.register(f)
	c.options.f = f
	f.Var(&c.options, "o", "comma-separated `options`: ro, allow_other, any flag here without its dashes, and those of fstab")
	f.BoolVar(&c.foreground, "f", false, "stay in the foreground and log to standard error")
	f.BoolVar(&c.debug, "debug", false, "log every request of the kernel")
	f.DurationVar(&c.settle, "settle", 2*time.Second, "quiet `time` before a file is compressed")
	f.Var(&c.cache, "cache-size", "memory for decoded chunks, in `bytes` or as 512M")
	f.IntVar(&c.workers, "workers", runtime.NumCPU(), "`number` of threads that compress")
	f.StringVar(&c.log, "log", "", "log to this `file`")
	registerIgnored(f)
	rest, err := parse(f, args, 2, 2)
	if err != nil {
		return c, err
	}
	if c.profile, err = p.profile(f); err != nil {
		return c, err
	}
	if c.workers < 1 || c.settle < 0 {
		return c, usagef("--workers must be at least 1 and --settle not negative")
	}
	return c, c.place(rest[0], rest[1])
}

// registerIgnored takes the flags that mount(8) hands to its helpers.
func registerIgnored(f *flagSet) {
	if filepath.Base(os.Args[0]) != mountHelper {
		return
	}
	for _, name := range []string{"s", "n", "v"} {
		f.Bool(name, false, "from mount(8), changes nothing")
	}
}

// place checks what can be said about the two folders before anything starts.
func (c *mountConfig) place(from, to string) error {
	var err error
	if c.store, err = resolve(from); err != nil {
		return err
	}
	if c.point, err = resolve(to); err != nil {
		return err
	}
	st, err := os.Stat(c.store)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return fmt.Errorf("the store %s does not exist: make the folder first (mkdir -p %s)", from, from)
	case errors.Is(err, unix.ENOTCONN):
		return deadError(c.store)
	case err != nil:
		return err
	case !st.IsDir():
		return fmt.Errorf("the store %s is not a folder", from)
	}
	if m, ok := mountOf(c.store); ok {
		return fmt.Errorf("%s lies in the excpfs mount %s; mount its store, %s, instead", from, m.point, m.store())
	}
	if m, ok := mountBelow(c.store); ok {
		return fmt.Errorf("%s, which is mounted at %s, lies in %s: excpfs umount %s first", m.source, m.point, from, m.point)
	}
	return nil
}

// defaultCache is 512 MiB, less on a small machine.
func defaultCache() size {
	var info unix.Sysinfo_t
	limit := int64(512 << 20)
	if err := unix.Sysinfo(&info); err == nil {
		limit = min(limit, int64(uint64(info.Totalram)*uint64(info.Unit)/8))
	}
	return size(limit)
}

// serve mounts and returns when the mount is gone.
func serve(c mountConfig, ready *readiness) error {
	log, err := openLog(c, ready)
	if err != nil {
		return err
	}
	if ready != nil {
		os.Chdir("/") // the daemon keeps no other folder in use
	}
	s, err := store.Open(c.store, store.Options{ReadOnly: c.options.readOnly, CacheSize: int64(c.cache), Log: log})
	if err != nil {
		return explain(err)
	}
	defer s.Close()
	v, err := fs.Mount(s, c.point, fs.Options{AllowOther: c.options.allowOther, ReadOnly: c.options.readOnly, Debug: c.debug, Log: log})
	if err != nil {
		return err
	}
	log.Info("mounted", "store", c.store, "mountpoint", c.point, "profile", c.profile.Name, "version", release)
	d := daemon{server: v, log: log}
	if !c.options.readOnly {
		d.sealer = seal.New(s, seal.Options{Profile: c.profile, Settle: c.settle, Workers: c.workers, Idle: true, Log: log})
	}
	return d.run(ready)
}
