package main

import (
	"context"
	"errors"
	"fmt"
	"io"
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
it is, and says what stays plain and why. A file that could not be compressed is
a failure; one that excpfs leaves alone is none: it holds no tensors, is under
64 KiB, saves less than 2 %, has several hard links, or its name is too long. A
file that is open, and its folder, are waited for.

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
		failed += w.report(os.Stderr)
	}
	if failed > 0 {
		return fmt.Errorf("%d of the files stay as they were written", failed)
	}
	return nil
}

// watcher follows the state of the files below a path of a mount.
type watcher struct {
	root    string
	files   int               // of all kinds
	pending map[string]string // file to state: settling or sealing
	failed  map[string]string // file to reason
	plain   map[string]string // file that is not to be compressed to reason
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
		p.reached(w.files-len(w.pending), w.files)
		for len(w.pending) > 0 {
			select {
			case <-ctx.Done():
				return w.stopped(ctx)
			case <-time.After(200 * time.Millisecond):
			}
			w.refresh()
			p.reached(w.files-len(w.pending), w.files)
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
	w.files, w.pending, w.failed, w.plain = 0, map[string]string{}, map[string]string{}, map[string]string{}
	return filepath.WalkDir(w.root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist) && path != w.root:
			return nil // gone meanwhile
		case err != nil:
			return err
		case d.Type().IsRegular():
			w.files++
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
	switch state, reason, _ := strings.Cut(stateOf(path), ": "); state {
	case "settling", "sealing":
		w.pending[path] = state
	case "failed":
		w.failed[path] = reason
	case "plain":
		if reason != "" { // else nobody wrote it
			w.plain[path] = reason
		}
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

// small is the size below which a file is not named: it is not worth a word.
const small = 64 << 10

// namedAtMost is how many files of one reason are named.
const namedAtMost = 3

// report tells what stays plain and why: each failure, and in one line for each
// reason what is not to be compressed. It returns the number of failures.
func (w *watcher) report(out io.Writer) int {
	for _, path := range sortedKeys(w.failed) {
		fmt.Fprintf(out, "%s stays plain: %s\n", path, w.failed[path])
	}
	count, named := map[string]int{}, map[string][]string{}
	few := 0
	for _, path := range sortedKeys(w.plain) {
		reason, _, _ := strings.Cut(w.plain[path], ": ")
		if st, err := os.Lstat(path); err == nil && st.Size() < small {
			few++
			continue
		}
		if count[reason]++; count[reason] <= namedAtMost {
			named[reason] = append(named[reason], path)
		}
	}
	for _, reason := range sortedKeys(count) {
		names := strings.Join(named[reason], ", ")
		if count[reason] > namedAtMost {
			names += ", ..."
		}
		fmt.Fprintf(out, "%s plain, %s: %s\n", stay(count[reason]), reason, names)
	}
	if few > 0 {
		fmt.Fprintf(out, "%s plain, under 64 KiB\n", stay(few))
	}
	return len(w.failed)
}

func stay(files int) string {
	if files == 1 {
		return "1 file stays"
	}
	return fmt.Sprintf("%d files stay", files)
}

func sortedKeys[V any](m map[string]V) []string {
	var keys []string
	for k := range m {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	return keys
}
