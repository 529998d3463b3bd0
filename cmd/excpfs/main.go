package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"excpfs/archive"
)

// Exit codes, the same for every verb.
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2
	exitDamage = 3
)

type command struct {
	name, short string
	run         func(ctx context.Context, args []string) error
}

var commands = []command{
	{"mount", "show a store at a mount point; what is written there is compressed", runMount},
	{"umount", "finish compressing, then detach a mount point", runUmount},
	{"wait", "wait until what was written into a mount is compressed", runWait},
	{"pack", "compress files into a store, or a store in place, without a mount", runPack},
	{"import", "take archives of ExCP's script or of ZipNN into a store", runImport},
	{"unpack", "turn files of a store back into ordinary files elsewhere", runUnpack},
	{"ls", "list the files of a store with their sizes and ratios", runLs},
	{"inspect", "show how each tensor of one file is stored", runInspect},
	{"verify", "check everything in a store, down to the hash of each tensor", runVerify},
	{"version", "print the version", runVersion},
}

// mountHelper is the name under which mount(8) calls the program for a line of fstab.
const mountHelper = "mount.excpfs"

func main() {
	args := os.Args[1:]
	if filepath.Base(os.Args[0]) == mountHelper {
		args = append([]string{"mount"}, args...)
	}
	ctx := context.Background()
	if len(args) > 0 && args[0] != "mount" { // mount answers signals itself
		var stop context.CancelFunc
		ctx, stop = signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
		defer stop()
	}
	os.Exit(dispatch(ctx, args, os.Stderr))
}

func dispatch(ctx context.Context, args []string, stderr io.Writer) int {
	if len(args) == 0 {
		printHelp(stderr)
		return exitUsage
	}
	verb, args := args[0], args[1:]
	switch verb {
	case "help", "-h", "-help", "--help":
		if len(args) == 0 {
			printHelp(os.Stdout)
			return exitOK
		}
		verb, args = args[0], []string{"--help"}
	case "--version", "-version":
		verb = "version"
	}
	for _, c := range commands {
		if c.name == verb {
			return report(c.name, c.run(ctx, args), stderr)
		}
	}
	fmt.Fprintf(stderr, "excpfs: there is no verb %q; excpfs help lists them\n", verb)
	return exitUsage
}

// report prints an error and gives the exit code that belongs to it.
func report(verb string, err error, stderr io.Writer) int {
	if err == nil || errors.Is(err, errHelp) {
		return exitOK
	}
	if !errors.Is(err, errReported) {
		fmt.Fprintf(stderr, "excpfs %s: %v\n", verb, err)
	}
	var (
		usage   *usageError
		damage  *archive.DamageError
		missing *archive.MissingError
	)
	switch {
	case errors.As(err, &usage):
		fmt.Fprintf(stderr, "excpfs %s --help shows how it is used\n", verb)
		return exitUsage
	case errors.As(err, &damage), errors.As(err, &missing), errors.Is(err, errDamaged):
		return exitDamage
	}
	return exitFailed
}

// What report needs to know beyond the text of an error.
var (
	errReported = errors.New("failed")       // all was said already
	errDamaged  = errors.New("damage found") // exit code 3
)

func printHelp(w io.Writer) {
	fmt.Fprint(w, `excpfs keeps training checkpoints compressed and shows them as the files they were.

usage: excpfs VERB [FLAGS] ARGUMENTS

`)
	for _, c := range commands {
		fmt.Fprintf(w, "  %-8s  %s\n", c.name, c.short)
	}
	fmt.Fprint(w, `
excpfs VERB --help tells more, with an example.

A store is a folder with checkpoints. Try:

  excpfs mount /data/store /mnt/ckpt
  cp -r checkpoint-500 checkpoint-600 /mnt/ckpt/
  excpfs wait /mnt/ckpt
  excpfs ls /mnt/ckpt
  excpfs umount /mnt/ckpt

The default profile, excp, is lossy for the float tensors of a file: see
excpfs mount --help. --profile exact keeps every bit.

`+exitCodes)
}
