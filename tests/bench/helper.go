package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// helper does one measurement in a process of its own and prints seconds: mmap of a
// mount must never happen in a process that others depend on.
func helper(args []string) {
	warmMemory()
	begin := time.Now()
	var err error
	switch args[0] {
	case "read":
		err = readAll(args[1])
	case "mmap":
		err = mapAll(args[1])
	case "first":
		err = firstTensor(args[1], args[2], args[3])
	case "write":
		data, e := os.ReadFile(args[2])
		begin, err = time.Now(), e
		if err == nil {
			err = write(args[1], data)
		}
	}
	seconds := time.Since(begin).Seconds()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println(strconv.FormatFloat(seconds, 'f', 6, 64))
}

// warmMemory touches and frees memory: a virtual machine may have handed free pages
// back to its host, and the first touch then costs thirty times as much.
func warmMemory() {
	m, err := unix.Mmap(-1, 0, 1<<30, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		return
	}
	for i := 0; i < len(m); i += 4096 {
		m[i] = 1
	}
	unix.Munmap(m)
}

func readAll(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	buf := make([]byte, 1<<20)
	for {
		if _, err := f.Read(buf); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
	}
}

// mapAll reads one word of each page of a private mapping.
func mapAll(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return err
	}
	m, err := unix.Mmap(int(f.Fd()), 0, int(st.Size()), unix.PROT_READ, unix.MAP_PRIVATE)
	if err != nil {
		return err
	}
	defer unix.Munmap(m)
	sum := byte(0)
	for i := 0; i < len(m); i += 4096 {
		sum += m[i]
	}
	runtime.KeepAlive(sum)
	return nil
}

// firstTensor reads the header and one tensor, size bytes at an offset.
func firstTensor(path, at, size string) error {
	offset, err := strconv.ParseInt(at, 10, 64)
	n, err2 := strconv.Atoi(size)
	f, err3 := os.Open(path)
	if err := errors.Join(err, err2, err3); err != nil {
		return err
	}
	defer f.Close()
	var length [8]byte
	if _, err := f.ReadAt(length[:], 0); err != nil {
		return err
	}
	if _, err := f.ReadAt(make([]byte, binary.LittleEndian.Uint64(length[:])), 8); err != nil {
		return err
	}
	_, err = f.ReadAt(make([]byte, n), offset)
	return err
}

func write(path string, data []byte) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	for at := 0; at < len(data); at += 1 << 20 {
		if _, err := f.Write(data[at:min(at+1<<20, len(data))]); err != nil {
			return err
		}
	}
	return f.Close()
}
