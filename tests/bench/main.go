package main

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

type bench struct {
	excpfs string // program
	chain  string // folder with checkpoint-* of real data
	dir    string // scratch
	mb     int
	rounds int
}

func main() {
	if len(os.Args) > 1 && os.Args[1] == "helper" {
		helper(os.Args[2:])
		return
	}
	b := bench{}
	flag.StringVar(&b.excpfs, "excpfs", "bin/excpfs", "`program` to measure")
	flag.StringVar(&b.dir, "dir", os.TempDir(), "`folder` for scratch files, on the disk to compare with")
	flag.StringVar(&b.chain, "chain", "", "`folder` with checkpoint-<step> (default: ../shared/chain/dev, else the chain of the repo)")
	flag.IntVar(&b.mb, "mb", 128, "size of the large file in `MiB`")
	flag.IntVar(&b.rounds, "rounds", 3, "`number` of rounds; medians are printed")
	only := flag.String("only", "sizes,speed,reads", "comma-separated `parts`")
	flag.Parse()
	if err := b.run(*only); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func (b *bench) run(only string) error {
	var err error
	if b.excpfs, err = filepath.Abs(b.excpfs); err != nil {
		return err
	}
	if b.chain == "" {
		b.chain = "../shared/chain/dev"
		if _, err := os.Stat(b.chain); err != nil {
			b.chain = "tests/testdata/chain/dev"
		}
	}
	if b.dir, err = os.MkdirTemp(b.dir, "excpfs-bench-"); err != nil {
		return err
	}
	defer os.RemoveAll(b.dir)
	version, err := exec.Command(b.excpfs, "version").Output()
	if err != nil {
		return fmt.Errorf("%s: %w (make build)", b.excpfs, err)
	}
	fmt.Printf("%s%s, %d processors, %s, %s\n", version, cpu(), runtime.NumCPU(), kernel(), time.Now().Format("2006-01-02"))
	for _, part := range []struct {
		name string
		run  func() error
	}{{"sizes", b.sizes}, {"speed", b.speed}, {"reads", b.reads}} {
		if !strings.Contains(only, part.name) {
			continue
		}
		if err := part.run(); err != nil {
			return fmt.Errorf("%s: %w", part.name, err)
		}
	}
	return nil
}

func cpu() string {
	text, _ := os.ReadFile("/proc/cpuinfo")
	for _, line := range strings.Split(string(text), "\n") {
		if k, v, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(k) == "model name" {
			return strings.TrimSpace(v)
		}
	}
	return runtime.GOARCH
}

func kernel() string {
	text, _ := os.ReadFile("/proc/sys/kernel/osrelease")
	return "Linux " + strings.TrimSpace(string(text))
}
