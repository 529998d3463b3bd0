package tests

import (
	"bytes"
	"errors"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"strings"
	"testing"

	"excpfs/archive"
	"excpfs/encode"
	"excpfs/torchfile"
)

// testdata/vN holds archives written by the release that introduced format version
// N, and in SHA256SUMS what they decode to. They are never made again: a change that
// cannot read them to the bit is a new version, with a folder of its own.
var freeze = flag.Bool("freeze", false, "make the folders testdata/vN that are not there")

var frozenVersions = []struct {
	folder string
	pack   func(t *testing.T, store string) // makes it
}{
	{"testdata/v1", packWeights},
	{"testdata/v2", packTorch},
}

func TestFrozen(t *testing.T) {
	for _, v := range frozenVersions {
		t.Run(filepath.Base(v.folder), func(t *testing.T) {
			store, sums := filepath.Join(v.folder, "store"), filepath.Join(v.folder, "SHA256SUMS")
			if _, err := os.Stat(sums); err != nil && *freeze {
				makeFrozen(t, store, sums, v.pack)
			}
			testFrozen(t, store, sums)
		})
	}
}

func testFrozen(t *testing.T, store, sums string) {
	want, err := os.ReadFile(sums)
	if err != nil {
		t.Fatalf("the frozen archives are gone: %v", err)
	}
	t.Run("unpack", func(t *testing.T) {
		if got := unpacked(t, store); got != string(want) {
			t.Errorf("decoded:\n%s\nexpected:\n%s", got, want)
		}
	})
	for _, target := range []string{"GOARCH=amd64", "GOARCH=amd64 GOAMD64=v3", "GOARCH=386", "GOARCH=arm64"} {
		t.Run(target, func(t *testing.T) {
			run := append(crossBuild(t, target), store)
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
	return sorted(must(t, "sh", "-c", "cd '"+out+"' && find * -type f | xargs sha256sum"))
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

// makeFrozen keeps of a store the archives, and notes what they decode to.
func makeFrozen(t *testing.T, store, sums string, pack func(t *testing.T, store string)) {
	must(t, "mkdir", "-p", filepath.Join(store, ".excpfs"))
	pack(t, store)
	must(t, "sh", "-c", "rm -r '"+store+"/.excpfs' && find '"+store+"' -type f -not -name '*.excp' -delete")
	if err := os.WriteFile(sums, []byte(unpacked(t, store)), 0o644); err != nil {
		t.Fatal(err)
	}
}

func packInto(t *testing.T, profile, dest string, sources ...string) {
	must(t, "mkdir", "-p", dest)
	excpfs(t, 0, append(append([]string{"pack", "--profile", profile}, sources...), dest)...)
}

// packWeights packs the small chains in both profiles.
func packWeights(t *testing.T, store string) {
	for _, profile := range []string{"excp", "exact"} {
		for _, kind := range []string{"dev", "bf16"} {
			packInto(t, profile, filepath.Join(store, profile, kind), checkpoints(t, filepath.Join("testdata/chain", kind))[:2]...)
		}
	}
}

// packTorch packs two checkpoints with an optimizer.pt, and files of many releases of
// PyTorch, which are smaller than what seal takes.
func packTorch(t *testing.T, store string) {
	chain := checkpoints(t, "testdata/chain/qkv")
	packInto(t, "excp", filepath.Join(store, "excp"), chain[:2]...)
	packInto(t, "exact", filepath.Join(store, "exact"), filepath.Join(chain[0], "optimizer.pt"))
	must(t, "mkdir", "-p", filepath.Join(store, "files"))
	for _, ext := range []string{"pt", "distcp"} {
		files, err := filepath.Glob("../torchfile/testdata/*." + ext)
		if err != nil || len(files) == 0 {
			t.Fatalf("no files in torchfile/testdata: %v", err)
		}
		for _, path := range files {
			packFile(t, path, filepath.Join(store, "files", filepath.Base(path)+".excp"))
		}
	}
}

// packFile makes an exact archive of one of PyTorch's files; none of one that is not.
func packFile(t *testing.T, path, to string) {
	p, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	layout, err := torchfile.Parse(bytes.NewReader(p), int64(len(p)))
	if _, not := errors.AsType[*torchfile.FormatError](err); not {
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	w, err := archive.NewWriterFor(&out, layout.Format)
	if err != nil {
		t.Fatal(err)
	}
	profile := archive.Profile{Name: encode.ProfileExact}
	ix, err := encode.Encode(t.Context(), encode.Input{Name: path, Src: bytes.NewReader(p), Layout: layout, Profile: profile, Workers: 1}, w)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Finish(ix, archive.Trailer{}); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, out.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
}
