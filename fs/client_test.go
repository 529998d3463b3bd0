package fs

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"
)

// client is what a process does that a test starts to use a mount.
func client(args []string) {
	verb, path, rest := args[0], args[1], args[2:]
	switch verb {
	case "mmap-sum": // both kinds of mapping show the file
		fmt.Printf("%x\n", sumMapped(path))
	case "mmap-hold": // maps, and sums again when told to
		b, f := mapFile(path, os.O_RDONLY, unix.PROT_READ, unix.MAP_SHARED)
		f.Close()
		fmt.Printf("%x\n", sha256.Sum256(b))
		for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
			fmt.Printf("%x\n", sha256.Sum256(b))
		}
	case "mmap-write": // all bytes through a mapping
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
		check(err)
		size, _ := strconv.ParseInt(rest[0], 10, 64)
		check(f.Truncate(size))
		f.Close()
		b, f := mapFile(path, os.O_RDWR, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
		fill(b[:size/2])
		f.Close() // what follows is written after the last FLUSH
		fill(b[:size])
		check(unix.Munmap(b))
	case "mmap-private": // writes to a private mapping stay private
		b, f := mapFile(path, os.O_RDONLY, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE)
		defer f.Close()
		fill(b)
		fmt.Printf("%x\n", sha256.Sum256(b))
	case "append": // n records of 16 bytes, each in one write
		f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
		check(err)
		n, _ := strconv.Atoi(rest[1])
		for i := range n {
			_, err := f.Write(fmt.Appendf(nil, "%s%014d\n", rest[0], i))
			check(err)
		}
		check(f.Close())
	case "direct": // writes and reads with O_DIRECT
		directIO(path)
	case "signalled": // reads while a signal comes every 100 us
		fmt.Printf("%x\n", readSignalled(path))
	case "hold": // keeps a file open for writing until killed
		f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE, 0o644)
		check(err)
		_, err = f.WriteString("half a file")
		check(err)
		fmt.Println("held")
		bufio.NewReader(os.Stdin).ReadString('\n')
	}
	os.Exit(0)
}

func mapFile(path string, flags, prot, kind int) ([]byte, *os.File) {
	f, err := os.OpenFile(path, flags, 0)
	check(err)
	st, err := f.Stat()
	check(err)
	b, err := unix.Mmap(int(f.Fd()), 0, int(st.Size()), prot, kind)
	check(err)
	return b, f
}

func sumMapped(path string) [32]byte {
	shared, f := mapFile(path, os.O_RDONLY, unix.PROT_READ, unix.MAP_SHARED)
	defer f.Close()
	private, g := mapFile(path, os.O_RDONLY, unix.PROT_READ, unix.MAP_PRIVATE)
	defer g.Close()
	if !bytes.Equal(shared, private) {
		check(fmt.Errorf("shared and private mapping differ"))
	}
	return sha256.Sum256(shared)
}

// fill writes a pattern that depends on the position.
func fill(b []byte) {
	for i := range b {
		b[i] = byte(i*7 + i>>8)
	}
}

func filled(n int) []byte {
	b := make([]byte, n)
	fill(b)
	return b
}

func readSignalled(path string) [32]byte {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, unix.SIGALRM)
	tick := unix.Timeval{Usec: 100}
	_, err := unix.Setitimer(unix.ITIMER_REAL, unix.Itimerval{Interval: unix.Timeval{Usec: 100}, Value: tick})
	check(err)
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_DIRECT, 0) // every read is a request
	check(err)
	h, buf, off := sha256.New(), aligned(256<<10), int64(0)
	for {
		n, err := unix.Pread(fd, buf, off)
		check(err)
		if n == 0 {
			return [32]byte(h.Sum(nil))
		}
		h.Write(buf[:n])
		off += int64(n)
	}
}

func directIO(path string) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|unix.O_DIRECT, 0o644)
	check(err)
	buf := aligned(1 << 20)
	for off := range int64(4) {
		fill(buf)
		buf[0] = byte(off)
		_, err := f.WriteAt(buf, off<<20)
		check(err)
	}
	for off := range int64(4) {
		back := aligned(1 << 20)
		_, err := f.ReadAt(back, off<<20)
		check(err)
		fill(buf)
		buf[0] = byte(off)
		if !slices.Equal(back, buf) {
			check(fmt.Errorf("MiB %d is not what was written", off))
		}
	}
	check(f.Close())
}

func aligned(n int) []byte {
	b, err := unix.Mmap(-1, 0, n, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	check(err)
	return b
}
