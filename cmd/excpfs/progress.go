package main

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// progress tells on stderr how far long work is: a bar on a terminal, a line
// every few seconds elsewhere. Safe for concurrent use.
type progress struct {
	mu          sync.Mutex
	verb        string
	total, done int64
	files       int
	started     time.Time
	shown       time.Time
	width       int // of the terminal, 0: none
}

func newProgress(verb string, total int64) *progress {
	p := &progress{verb: verb, total: total, started: time.Now(), shown: time.Now()}
	if ws, err := unix.IoctlGetWinsize(int(os.Stderr.Fd()), unix.TIOCGWINSZ); err == nil {
		p.width = max(int(ws.Col), 40)
	}
	return p
}

// add counts a finished file of n bytes.
func (p *progress) add(name string, n int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.done += n
	p.files++
	every := 3 * time.Second
	if p.width > 0 {
		every = 100 * time.Millisecond
	}
	if time.Since(p.shown) >= every {
		p.shown = time.Now()
		p.show(name)
	}
}

// say prints a line without disturbing the bar.
func (p *progress) say(format string, a ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.clear()
	fmt.Fprintf(os.Stderr, format+"\n", a...)
}

func (p *progress) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.clear()
}

func (p *progress) show(name string) {
	rate := float64(p.done) / time.Since(p.started).Seconds() / 1e6
	text := fmt.Sprintf("%s: %d files, %s, %.0f MB/s", p.verb, p.files, formatSize(p.done), rate)
	if p.total > 0 {
		text = fmt.Sprintf("%s: %d files, %s of %s, %.0f MB/s", p.verb, p.files, formatSize(p.done), formatSize(p.total), rate)
	}
	if p.width == 0 {
		fmt.Fprintln(os.Stderr, text+", "+name)
		return
	}
	if bar := p.width - len(text) - 4; p.total > 0 && bar > 10 {
		full := min(int(int64(bar)*p.done/p.total), bar)
		text = "[" + strings.Repeat("=", full) + strings.Repeat(" ", bar-full) + "] " + text
	}
	fmt.Fprintf(os.Stderr, "\r\x1b[K%.*s", p.width-1, text)
}

func (p *progress) clear() {
	if p.width > 0 {
		fmt.Fprint(os.Stderr, "\r\x1b[K")
	}
}

// waiting shows how many files are not done yet.
func (p *progress) waiting(n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	every := 5 * time.Second
	if p.width > 0 {
		every = 200 * time.Millisecond
	}
	if time.Since(p.shown) < every {
		return
	}
	p.shown = time.Now()
	text := fmt.Sprintf("%s: %d files not compressed yet", p.verb, n)
	if p.width == 0 {
		fmt.Fprintln(os.Stderr, text)
		return
	}
	fmt.Fprintf(os.Stderr, "\r\x1b[K%.*s", p.width-1, text)
}
