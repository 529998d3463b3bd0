package tests

import (
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"strings"
	"testing"
)

// testdata/v1 holds archives written by the release that introduced format version
// 1, and in SHA256SUMS what they decode to. They are never made again: a change that
// cannot read them to the bit is a new version, with a folder of its own.
const (
	frozen     = "testdata/v1/store"
	frozenSums = "testdata/v1/SHA256SUMS"
)

var freeze = flag.Bool("freeze", false, "make testdata/v1, if it is not there")

func TestFrozen(t *testing.T) {
	if *freeze {
		makeFrozen(t)
	}
	want, err := os.ReadFile(frozenSums)
	if err != nil {
		t.Fatalf("the frozen archives are gone: %v", err)
	}
	t.Run("unpack", func(t *testing.T) {
		if got := unpacked(t, frozen); got != string(want) {
			t.Errorf("decoded:\n%s\nexpected:\n%s", got, want)
		}
	})
	for _, target := range []string{"GOARCH=amd64", "GOARCH=amd64 GOAMD64=v3", "GOARCH=386", "GOARCH=arm64"} {
		t.Run(target, func(t *testing.T) {
			run := append(crossBuild(t, target), frozen)
			if got := sorted(must(t, run[0], run[1:]...)); got != string(want) {
				t.Errorf("decoded:\n%s\nexpected:\n%s", got, want)
			}
		})
	}
}

// unpacked hashes what excpfs unpack makes of a store.
func unpacked(t *testing.T, store string) string {
	t.Helper()
	out := filepath.Join(t.TempDir(), "out")
	excpfs(t, 0, "unpack", store, out)
	return sorted(must(t, "sh", "-c", "cd '"+out+"' && find * -name '*.safetensors' | xargs sha256sum"))
}

func sorted(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	sort.Slice(lines, func(i, j int) bool { return lines[i][64:] < lines[j][64:] })
	return strings.Join(lines, "\n") + "\n"
}

// crossBuild gives the command that runs hashes built for another target.
func crossBuild(t *testing.T, target string) []string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "hashes")
	build := exec.Command("go", "build", "-o", path, "./hashes")
	build.Env = append(os.Environ(), append([]string{"CGO_ENABLED=0"}, strings.Fields(target)...)...)
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build for %s: %v\n%s", target, err, out)
	}
	if strings.Contains(target, "arm64") {
		for _, emulator := range []string{"qemu-aarch64", "qemu-aarch64-static"} {
			if p, err := exec.LookPath(emulator); err == nil {
				return []string{p, path}
			}
		}
		t.Skip("skipped: no qemu-user to run arm64 (apt-get install qemu-user)")
	}
	if out, err := exec.Command(path, t.TempDir()).CombinedOutput(); err != nil {
		t.Skipf("skipped: this machine does not run %s: %v %s", target, err, out)
	}
	return []string{path}
}

// makeFrozen packs the small chains in both profiles.
func makeFrozen(t *testing.T) {
	if _, err := os.Stat(frozenSums); err == nil {
		t.Fatalf("%s is there already, and is never made again", frozenSums)
	}
	state := filepath.Join(frozen, ".excpfs")
	for _, profile := range []string{"excp", "exact"} {
		for _, kind := range []string{"dev", "bf16"} {
			dest := filepath.Join(frozen, profile, kind)
			must(t, "mkdir", "-p", state, dest)
			args := append([]string{"pack", "--profile", profile}, checkpoints(t, filepath.Join("testdata/chain", kind))[:2]...)
			excpfs(t, 0, append(args, dest)...)
		}
	}
	must(t, "sh", "-c", "rm -r '"+state+"' && find '"+frozen+"' -name '*.json' -delete")
	if err := os.WriteFile(frozenSums, []byte(unpacked(t, frozen)), 0o644); err != nil {
		t.Fatal(err)
	}
}
