package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// progress tells on stderr how far long work is, while it goes on: a bar on a
// terminal, a line every few seconds elsewhere. Safe for concurrent use.
type progress struct {
	mu           sync.Mutex
	out          *os.File
	verb         string
	total, done  int64 // bytes; total 0: not known
	all, files   int   // files; all 0: not known
	name         string
	started      time.Time
	width        int // of the terminal, 0: none
	stop, ticked chan struct{}
	once         sync.Once
}

func newProgress(verb string, total int64) *progress { return newProgressOn(os.Stderr, verb, total) }

func newProgressOn(out *os.File, verb string, total int64) *progress {
	p := &progress{out: out, verb: verb, total: total, started: time.Now(), stop: make(chan struct{}), ticked: make(chan struct{})}
	every := 3 * time.Second
	if ws, err := unix.IoctlGetWinsize(int(out.Fd()), unix.TIOCGWINSZ); err == nil {
		p.width, every = max(int(ws.Col), 40), 100*time.Millisecond
	}
	go p.tick(every)
	return p
}

func (p *progress) tick(every time.Duration) {
	defer close(p.ticked)
	t := time.NewTicker(every)
	defer t.Stop()
	for {
		select {
		case <-p.stop:
			return
		case <-t.C:
			p.show()
		}
	}
}

// add counts a finished file of n bytes.
func (p *progress) add(name string, n int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.done += n
	p.files++
	p.name = name
}

// of says how many files there are in all.
func (p *progress) of(all int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.all = all
}

// reached says how many files of how many are finished.
func (p *progress) reached(files, all int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.files, p.all = files, all
}

// through counts the bytes of a file as they pass to w; add then gets 0 for it.
func (p *progress) through(w io.Writer) io.Writer { return passing{p, w} }

type passing struct {
	p *progress
	w io.Writer
}

func (c passing) Write(b []byte) (int, error) {
	n, err := c.w.Write(b)
	c.p.mu.Lock()
	c.p.done += int64(n)
	c.p.mu.Unlock()
	return n, err
}

// say prints a line without disturbing the bar.
func (p *progress) say(format string, a ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.clear()
	fmt.Fprintf(p.out, format+"\n", a...)
}

// end clears the bar away.
func (p *progress) end() {
	p.once.Do(func() {
		close(p.stop)
		<-p.ticked
		p.clear()
	})
}

func (p *progress) show() {
	p.mu.Lock()
	defer p.mu.Unlock()
	text := p.text()
	if p.width == 0 {
		if p.name != "" {
			text += ", " + p.name
		}
		fmt.Fprintln(p.out, text)
		return
	}
	if bar := p.width - len(text) - 4; bar > 10 {
		if part, known := p.part(); known {
			full := int(float64(bar) * part)
			text = "[" + strings.Repeat("=", full) + strings.Repeat(" ", bar-full) + "] " + text
		}
	}
	fmt.Fprintf(p.out, "\r\x1b[K%.*s", p.width-1, text)
}

// text is files, bytes and time.
func (p *progress) text() string {
	elapsed := time.Since(p.started)
	text := fmt.Sprintf("%s: %d", p.verb, p.files)
	if p.all > 0 {
		text += fmt.Sprintf(" of %d", p.all)
	}
	text += " files"
	if p.done > 0 || p.total > 0 {
		text += ", " + formatSize(p.done)
		if p.total > 0 {
			text += " of " + formatSize(p.total)
		}
		text += fmt.Sprintf(", %.0f MB/s", float64(p.done)/elapsed.Seconds()/1e6)
	}
	return text + fmt.Sprintf(", %d:%02d", int(elapsed.Minutes()), int(elapsed.Seconds())%60)
}

// part is how much of the work is done, by bytes where they are counted.
func (p *progress) part() (float64, bool) {
	switch {
	case p.total > 0:
		return min(float64(p.done)/float64(p.total), 1), true
	case p.all > 0:
		return min(float64(p.files)/float64(p.all), 1), true
	}
	return 0, false
}

func (p *progress) clear() {
	if p.width > 0 {
		fmt.Fprint(p.out, "\r\x1b[K")
	}
}
