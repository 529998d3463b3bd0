package fs

import (
	"os"
	"slices"
	"testing"

	"github.com/hanwen/go-fuse/v2/posixtest"
	"golang.org/x/sys/unix"
)

// notPassed are tests of posixtest that a mount like this cannot pass.
var notPassed = map[string]string{
	"RenameOpenDir":       "skips itself on every filesystem with a dentry cache of its own",
	"XAttrLarge":          "ext4 holds no value of 64 KiB; skips itself in go-fuse too",
	"FcntlFlockLocksFile": "asks the host file for a lock that the kernel keeps in the mount (EnableLocks is off)",
}

func TestPosix(t *testing.T) {
	modes(t, func(t *testing.T, s setup) {
		m := mountStore(t, s)
		for _, name := range sorted(posixtest.All) {
			t.Run(name, func(t *testing.T) {
				if why, ok := notPassed[name]; ok {
					t.Skipf("SKIPPED: %s", why)
				}
				dir := m.path(name)
				ok(t, os.Mkdir(dir, 0o755))
				posixtest.All[name](t, dir)
			})
		}
	})
}

func sorted[V any](m map[string]V) []string {
	var names []string
	for k := range m {
		names = append(names, k)
	}
	slices.Sort(names)
	return names
}

func TestLocks(t *testing.T) {
	m := mountStore(t, setup{})
	writeFile(t, m.path("f"), nil)
	f, err := os.Open(m.path("f"))
	ok(t, err)
	defer f.Close()
	ok(t, unix.Flock(int(f.Fd()), unix.LOCK_EX))
	g, err := os.OpenFile(m.path("f"), os.O_RDWR, 0)
	ok(t, err)
	defer g.Close()
	wantErr(t, unix.Flock(int(g.Fd()), unix.LOCK_EX|unix.LOCK_NB), unix.EWOULDBLOCK)
	lk := unix.Flock_t{Type: unix.F_WRLCK}
	ok(t, unix.FcntlFlock(g.Fd(), unix.F_OFD_SETLK, &lk))
}
