package main

import (
	"path/filepath"
	"strconv"
	"strings"

	"excpfs/fs"

	"golang.org/x/sys/unix"
)

// mountEntry is a mount, ours or another.
type mountEntry struct{ point, fstype, source string }

func (m mountEntry) ours() bool { return m.fstype == "fuse.excpfs" }

// dead reports a mount whose daemon is gone. stat may still answer from the
// kernel's cache; statfs does not.
func (m mountEntry) dead() bool {
	var st unix.Statfs_t
	return unix.Statfs(m.point, &st) == unix.ENOTCONN
}

func (m mountEntry) attr(name string) string {
	buf := make([]byte, 4096)
	n, err := unix.Getxattr(m.point, "user.excpfs."+name, buf)
	if err != nil {
		return ""
	}
	return string(buf[:n])
}

// store is the folder behind the mount.
func (m mountEntry) store() string {
	if s := m.attr("store"); s != "" {
		return s
	}
	return m.source
}

// daemon is the process that serves the mount, 0 if unknown.
func (m mountEntry) daemon() int {
	pid, err := strconv.Atoi(m.attr("pid"))
	if err != nil {
		return 0
	}
	return pid
}

// mountOf finds the mount that path, absolute and without symlinks, lies in.
func mountOf(path string) (mountEntry, bool) {
	var best mountEntry
	for _, m := range mounts() {
		if len(m.point) >= len(best.point) && inside(path, m.point) {
			best = m // of two at one point the later one hides the earlier
		}
	}
	return best, best.ours()
}

// liveMount is where a store is mounted, "" if nowhere; of several mounts the one that writes.
func liveMount(store string) string {
	var point string
	for _, m := range mounts() {
		var st unix.Statfs_t
		if !m.ours() || m.source != store || unix.Statfs(m.point, &st) != nil {
			continue
		}
		if point == "" || st.Flags&unix.ST_RDONLY == 0 {
			point = m.point
		}
	}
	return point
}

// mountedStore finds the store of a live mount that path, absolute and without symlinks, lies in.
// Until something was written there, the folder itself does not tell that it is a store.
func mountedStore(path string) (string, bool) {
	found := ""
	for _, m := range mounts() {
		if m.ours() && inside(path, m.source) && (found == "" || inside(found, m.source)) && !m.dead() {
			found = m.source
		}
	}
	return found, found != ""
}

// mountBelow finds a live mount of a folder in the store: its daemon would change the store's files too.
func mountBelow(store string) (mountEntry, bool) {
	for _, m := range mounts() {
		if m.ours() && m.source != store && inside(m.source, store) && !m.dead() {
			return m, true
		}
	}
	return mountEntry{}, false
}

func mounts() (list []mountEntry) {
	all, _ := fs.Mounts() // nil without /proc: then nothing is known to be mounted
	for _, m := range all {
		list = append(list, mountEntry{m.Point, m.Kind, m.Source})
	}
	return list
}

// inside reports whether path is dir or lies below it; both are clean and absolute.
func inside(path, dir string) bool {
	return path == dir || dir == "/" || strings.HasPrefix(path, dir+"/")
}

// resolve makes a path absolute and free of symlinks as far as it exists.
func resolve(path string) (string, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	rest := ""
	for dir := abs; ; dir = filepath.Dir(dir) {
		if real, err := filepath.EvalSymlinks(dir); err == nil {
			return filepath.Join(real, rest), nil
		}
		if dir == filepath.Dir(dir) {
			return abs, nil
		}
		rest = filepath.Join(filepath.Base(dir), rest)
	}
}
