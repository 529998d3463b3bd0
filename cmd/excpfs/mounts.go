package main

import (
	"bufio"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// mountEntry is a line of /proc/self/mountinfo.
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

func mounts() []mountEntry {
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return nil
	}
	defer f.Close()
	var list []mountEntry
	for sc := bufio.NewScanner(f); sc.Scan(); {
		before, after, ok := strings.Cut(sc.Text(), " - ")
		l, r := strings.Fields(before), strings.Fields(after)
		if ok && len(l) >= 5 && len(r) >= 2 {
			list = append(list, mountEntry{unescape(l[4]), r[0], unescape(r[1])})
		}
	}
	return list
}

// unescape undoes the octal escapes of the kernel's mount tables.
func unescape(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) {
			if n, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				b.WriteByte(byte(n))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
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
	if real, err := filepath.EvalSymlinks(abs); err == nil {
		return real, nil
	}
	dir, err := filepath.EvalSymlinks(filepath.Dir(abs))
	if err != nil {
		return abs, nil
	}
	return filepath.Join(dir, filepath.Base(abs)), nil
}
