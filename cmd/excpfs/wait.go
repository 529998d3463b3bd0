package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const waitHelp = `
usage: excpfs wait [--timeout TIME] PATH...

Returns when every file at or below PATH, in a mount, is compressed or stays as
it is. Files that could not be compressed are listed with the reason; a file
that holds no tensors, or is too small to gain, is no failure. A file that is
open, and its folder, are waited for.

Example:
  excpfs wait /mnt/ckpt/run1
`

func runWait(ctx context.Context, args []string) error {
	f := newFlags("wait", waitHelp)
	timeout := f.Duration("timeout", 0, "give up after this `time` (0: never)")
	paths, err := parse(f, args, 1, -1)
	if err != nil {
		return err
	}
	if *timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, *timeout)
		defer cancel()
	}
	var failed int
	for _, p := range paths {
		w := watcher{root: p}
		if err := w.check(); err != nil {
			return err
		}
		if err := w.wait(ctx); err != nil {
			return err
		}
		failed += w.report(os.Stderr, false)
	}
	if failed > 0 {
		return fmt.Errorf("%d of the files stay as they were written", failed)
	}
	return nil
}

// watcher follows the state of the files below a path of a mount.
type watcher struct {
	root    string
	pending map[string]string // file to state: settling or sealing
	failed  map[string]string // file to reason
}

func (w *watcher) check() error {
	if _, err := os.Lstat(w.root); errors.Is(err, unix.ENOTCONN) {
		return deadError(w.root)
	} else if err != nil {
		return err
	}
	path, err := resolve(w.root)
	if err != nil {
		return err
	}
	m, ok := mountOf(path)
	switch {
	case !ok:
		return fmt.Errorf("%s is not in an excpfs mount", w.root)
	case m.dead():
		return deadError(m.point)
	}
	return nil
}

// wait polls until nothing is pending. All files are looked at once, then the
// pending ones, and at the end all again, as others may have come.
func (w *watcher) wait(ctx context.Context) error {
	p := newProgress("wait", 0)
	defer p.end()
	for {
		if err := w.scan(); err != nil {
			return err
		}
		if len(w.pending) == 0 {
			return nil
		}
		for len(w.pending) > 0 {
			select {
			case <-ctx.Done():
				return w.stopped(ctx)
			case <-time.After(200 * time.Millisecond):
			}
			w.refresh()
			p.waiting(len(w.pending))
		}
	}
}

func (w *watcher) stopped(ctx context.Context) error {
	cause := context.Cause(ctx)
	if errors.Is(cause, context.DeadlineExceeded) {
		cause = errTimeout
	}
	names := sortedKeys(w.pending)
	return fmt.Errorf("%w: %d files are not compressed yet, such as %s (%s)", cause, len(names), names[0], w.pending[names[0]])
}

var errTimeout = errors.New("the time is up")

func (w *watcher) scan() error {
	w.pending, w.failed = map[string]string{}, map[string]string{}
	return filepath.WalkDir(w.root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist) && path != w.root:
			return nil // gone meanwhile
		case err != nil:
			return err
		case d.Type().IsRegular():
			w.look(path)
		}
		return nil
	})
}

func (w *watcher) refresh() {
	for path := range w.pending {
		delete(w.pending, path)
		w.look(path)
	}
}

func (w *watcher) look(path string) {
	state := stateOf(path)
	if reason, ok := strings.CutPrefix(state, "failed: "); ok {
		w.failed[path] = reason
	} else if state == "settling" || state == "sealing" {
		w.pending[path] = state
	}
}

func stateOf(path string) string {
	buf := make([]byte, 4096)
	n, err := unix.Lgetxattr(path, "user.excpfs.state", buf)
	if err != nil {
		return ""
	}
	return string(buf[:n])
}

// report lists the files that stay plain although they should not, and returns
// their number; all also counts those that excpfs does not compress by design.
func (w *watcher) report(out *os.File, all bool) int {
	failures, policy := 0, map[string]int{}
	for _, path := range sortedKeys(w.failed) {
		reason := w.failed[path]
		if staysPlain(reason) {
			short, _, _ := strings.Cut(reason, ":")
			policy[short]++
			continue
		}
		failures++
		fmt.Fprintf(out, "%s stays plain: %s\n", path, reason)
	}
	for _, reason := range sortedKeys(policy) {
		if all {
			fmt.Fprintf(out, "stay plain: %s (%d of the files)\n", reason, policy[reason])
		}
	}
	return failures
}

// staysPlain tells reasons that are policy from failures.
func staysPlain(reason string) bool {
	for _, policy := range []string{"not a tensor file", "under 64 KiB", "saves less than", "more than one hard link"} {
		if strings.HasPrefix(reason, policy) {
			return true
		}
	}
	return false
}

func sortedKeys[V any](m map[string]V) []string {
	var keys []string
	for k := range m {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	return keys
}
