package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"excpfs/fs"
)

const umountHelp = `
usage: excpfs umount [--timeout TIME] MOUNTPOINT

Compresses what was written and still waits, for at most the given time, says
what stays plain and why, detaches the mount and waits for its daemon to end.
Files that were not compressed in time are whole; the next mount goes on with
them. A mount whose daemon has died is cleared away.

Example:
  excpfs umount --timeout 5m /mnt/ckpt
`

func runUmount(ctx context.Context, args []string) error {
	f := newFlags("umount", umountHelp)
	timeout := f.Duration("timeout", time.Minute, "compress for at most this `time` (0: not at all)")
	rest, err := parse(f, args, 1, 1)
	if err != nil {
		return err
	}
	point, err := mountPoint(rest[0])
	if err != nil {
		return err
	}
	if point.dead() {
		if err := fs.Unmount(point.point); err != nil {
			return err
		}
		fmt.Fprintf(os.Stderr, "excpfs: the daemon of %s had died; its mount is cleared away. Nothing in the store is lost\n", point.point)
		return nil
	}
	pid := point.daemon()
	if *timeout > 0 {
		drain(ctx, point, pid, *timeout)
	}
	return detach(point.point, pid)
}

// mountPoint finds the excpfs mount at just this path. The path itself is not
// touched before: a dead mount answers nothing.
func mountPoint(arg string) (mountEntry, error) {
	abs, err := filepath.Abs(arg)
	if err != nil {
		return mountEntry{}, err
	}
	real, err := filepath.EvalSymlinks(filepath.Dir(abs))
	if err == nil {
		real = filepath.Join(real, filepath.Base(abs))
	}
	if through, err := filepath.EvalSymlinks(abs); err == nil {
		real = through
	}
	var found mountEntry
	for _, m := range mounts() {
		if m.point == abs || m.point == real {
			found = m
		}
	}
	if !found.ours() {
		return found, fmt.Errorf("there is no excpfs mounted at %s", arg)
	}
	return found, nil
}

// drain has the daemon compress at once what waits, and reports.
func drain(ctx context.Context, m mountEntry, pid int, timeout time.Duration) {
	if pid > 0 {
		unix.Kill(pid, syscall.SIGUSR1) // another user's mount settles in its own time
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	w := watcher{root: m.point}
	if err := w.wait(ctx); err != nil && !errors.Is(err, errTimeout) {
		fmt.Fprintf(os.Stderr, "excpfs: %v\n", err)
	}
	w.report(os.Stderr)
	for _, path := range sortedKeys(w.pending) {
		fmt.Fprintf(os.Stderr, "%s stays plain for now: not compressed within %v\n", path, timeout)
	}
}

// detach unmounts and waits for the daemon to have let go of the store. A mount
// that is in use goes out of sight, and its daemon ends with the last user.
func detach(point string, pid int) error {
	fd := -1
	if pid > 0 {
		fd, _ = unix.PidfdOpen(pid, 0)
	}
	users := usersOf(point)
	if err := fs.Unmount(point); err != nil {
		return err
	}
	if fd < 0 {
		return nil
	}
	defer unix.Close(fd)
	patience := 30 * time.Second
	if users != "" {
		patience = time.Second
	}
	n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, int(patience.Milliseconds()))
	if err == nil && n == 0 {
		return fmt.Errorf("%s is detached, but its daemon (process %d) goes on until what is open in it is closed: used by %s",
			point, pid, cmp.Or(users, "a process that cannot be seen"))
	}
	return nil
}

// usersOf names processes that have a file or their folder below a path.
func usersOf(point string) string {
	var users []string
	links, _ := filepath.Glob("/proc/[0-9]*/cwd")
	fds, _ := filepath.Glob("/proc/[0-9]*/fd/*")
	seen := map[string]bool{}
	for _, link := range append(links, fds...) {
		pid := strings.Split(link, "/")[2]
		target, err := os.Readlink(link)
		if err != nil || seen[pid] || !inside(target, point) || pid == strconv.Itoa(os.Getpid()) {
			continue
		}
		seen[pid] = true
		name, _ := os.ReadFile("/proc/" + pid + "/comm")
		users = append(users, fmt.Sprintf("%s (process %s)", strings.TrimSpace(string(name)), pid))
	}
	return strings.Join(users, ", ")
}
