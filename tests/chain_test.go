package tests

import (
	"os/exec"
	"path/filepath"
	"testing"
)

// TestChainScript cuts the small chain out of the large one again.
func TestChainScript(t *testing.T) {
	large := shared()
	if large == "" {
		t.Skip("skipped: no large chain (EXCPFS_SHARED names the folder that has it)")
	}
	python, err := exec.LookPath("python3") // its own library is enough
	if err != nil {
		t.Skipf("skipped: %v", err)
	}
	dest := t.TempDir()
	must(t, python, "testdata/make_chain.py", filepath.Join(large, "chain"), dest)
	if r := command(t, "diff", "-r", "--exclude", "qkv", "testdata/chain", dest); r.code != 0 {
		t.Errorf("not what testdata/chain holds\n%v", r)
	}
}
