package main

import (
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"excpfs/archive"
)

func TestSize(t *testing.T) {
	for text, want := range map[string]int64{"0": 0, "4096": 4096, "1K": 1 << 10, "512M": 512 << 20, "2GiB": 2 << 30,
		"3tb": 3 << 40, "7B": 7, "1k": 1 << 10} {
		var s size
		if err := s.Set(text); err != nil || int64(s) != want {
			t.Errorf("%q is %d, %v; want %d", text, s, err, want)
		}
	}
	for _, text := range []string{"", "M", "-1", "1.5G", "1X", "1MM", "99999999999T", "0x10"} {
		var s size
		if err := s.Set(text); err == nil {
			t.Errorf("%q is %d", text, s)
		}
	}
}

func TestFormatSize(t *testing.T) {
	for n, want := range map[int64]string{0: "0 B", 1023: "1023 B", 1024: "1.0 KiB", 1 << 20: "1.0 MiB",
		1<<20 - 1: "1.0 MiB", 1536: "1.5 KiB", 1 << 62: "4.0 EiB"} {
		if got := formatSize(n); got != want {
			t.Errorf("%d is %q, want %q", n, got, want)
		}
	}
}

func TestParseFlagsAnywhere(t *testing.T) {
	for _, args := range [][]string{
		{"-l", "--name", "x", "a", "b"},
		{"a", "-l", "b", "--name=x"},
		{"a", "b", "-name", "x", "-l=true"},
		{"-l", "--name", "x", "--", "a", "b"},
	} {
		f := newFlags("t", "")
		l, name := f.Bool("l", false, ""), f.String("name", "", "")
		rest, err := parse(f, args, 2, 2)
		if err != nil || !slices.Equal(rest, []string{"a", "b"}) || !*l || *name != "x" {
			t.Errorf("%q: %q %v %q, %v", args, rest, *l, *name, err)
		}
	}
	rest, err := parse(newFlags("t", ""), []string{"--", "-l"}, 0, -1)
	if err != nil || !slices.Equal(rest, []string{"-l"}) {
		t.Errorf("after --: %q, %v", rest, err)
	}
	var usage *usageError
	if _, err := parse(newFlags("t", ""), []string{"a"}, 0, 0); !errors.As(err, &usage) {
		t.Errorf("too many: %v", err)
	}
}

func TestMountOptions(t *testing.T) {
	store := t.TempDir()
	parsed := func(options string) (mountConfig, error) {
		return parseMount([]string{store, "/nowhere", "-o", options})
	}
	c, err := parsed("ro,allow_other,noatime,x-systemd.automount,_netdev,profile=exact,settle=5s,cache-size=1G,workers=3")
	if err != nil {
		t.Fatal(err)
	}
	if !c.options.readOnly || !c.options.allowOther || c.profile.Name != "exact" || c.settle.Seconds() != 5 ||
		c.cache != 1<<30 || c.workers != 3 {
		t.Errorf("%+v", c)
	}
	for _, options := range []string{"acl", "profile", "profile=zip", "alpha=x", "o=ro", "ro,sync", "workers=0"} {
		var usage *usageError
		if _, err := parsed(options); !errors.As(err, &usage) {
			t.Errorf("%s: %v", options, err)
		}
	}
}

func TestExitCodes(t *testing.T) {
	for want, err := range map[int]error{exitOK: errHelp, exitFailed: io.EOF, exitUsage: usagef("x"), exitDamage: errDamaged} {
		if got := report("t", err, io.Discard); got != want {
			t.Errorf("%v: %d, want %d", err, got, want)
		}
	}
	var b strings.Builder
	report("ls", errReported, &b)
	if b.Len() > 0 {
		t.Errorf("said twice: %s", b.String())
	}
}

func TestMountDefaults(t *testing.T) {
	c, err := parseMount([]string{t.TempDir(), t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	if c.settle != 2*time.Second || c.profile != (archive.Profile{Name: "excp", Alpha: 5e-5, Beta: 2, Bits: 4}) {
		t.Errorf("settle %v, profile %+v", c.settle, c.profile)
	}
}
