package fs

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// aTree makes files of many kinds under dir.
func aTree(t testing.TB, dir string) {
	t.Helper()
	for i := range 5 {
		d := filepath.Join(dir, fmt.Sprintf("dir%d", i), "deep", "er")
		ok(t, os.MkdirAll(d, 0o755))
		for j := range 10 {
			writeFile(t, filepath.Join(d, fmt.Sprintf("file%d", j)), filled(1000*j*j))
		}
		ok(t, os.Symlink("er/file1", filepath.Join(dir, fmt.Sprintf("dir%d", i), "deep", "link")))
		ok(t, os.Link(filepath.Join(d, "file2"), filepath.Join(d, "hard")))
	}
	ok(t, os.Chmod(filepath.Join(dir, "dir0"), 0o750))
	writeFile(t, filepath.Join(dir, "big"), filled(3<<20))
}

func TestTools(t *testing.T) {
	modes(t, func(t *testing.T, s setup) {
		m := mountStore(t, s)
		src := filepath.Join(tempDir(t), "src")
		ok(t, os.Mkdir(src, 0o755))
		aTree(t, src)
		for _, c := range []struct{ name, program, script string }{
			{"cp", "cp", "cp -a SRC MNT/cp && cp -a MNT/cp MNT/cp2"},
			{"rsync", "rsync", "rsync -aHX SRC/ MNT/rsync && rsync -aH --checksum --out-format=%n SRC/ MNT/rsync | { grep -v '/$' || true; } | (! grep .)"},
			{"tar", "tar", "mkdir MNT/tar && tar -C SRC -cf - . | tar -C MNT/tar -xf - && tar -C MNT/tar -df <(tar -C SRC -cf - .) 2>&1 | (! grep -v Uid)"},
			{"dd", "dd", "mkdir MNT/dd && dd if=SRC/big of=MNT/dd/big bs=64k conv=fsync 2>/dev/null && cmp SRC/big MNT/dd/big"},
			{"find", "find", "find MNT -ls | wc -l && find MNT -type l | grep -q link && find MNT -samefile MNT/cp/dir0/deep/er/file2 | grep -q hard"},
			{"compare", "diff", "diff -r SRC MNT/cp && diff -r SRC MNT/cp2 && diff -r SRC MNT/tar"},
			{"sed -i", "sed", "sed -i 1d MNT/cp/dir0/deep/er/file1 && ! cmp -s SRC/dir0/deep/er/file1 MNT/cp/dir0/deep/er/file1"},
			{"mv", "mv", "mv MNT/cp MNT/mv && ! test -e MNT/cp && mv MNT/mv/big MNT/big && cmp MNT/big SRC/big"},
			{"git", "git", `mkdir MNT/git && cd MNT/git && git init -q . && cp -r SRC . && git add -A &&
				git -c user.name=n -c user.email=e@x commit -qm first && git status --porcelain | (! grep .) && git fsck --strict 2>&1 | (! grep -i error) && git gc -q`},
			{"exec", "cp", "cp /bin/echo MNT/echo && MNT/echo hello | grep -q hello && printf '#!/bin/sh\\nexit 0\\n' > MNT/script && chmod +x MNT/script && MNT/script"},
			{"rm", "rm", "rm -rf MNT/* && test -z \"$(ls -A MNT)\""},
		} {
			t.Run(c.name, func(t *testing.T) {
				need(t, c.program)
				script := strings.NewReplacer("SRC", src, "MNT", m.Mnt).Replace(c.script)
				m.run(t, m.Mnt, "bash", "-eo", "pipefail", "-c", script)
			})
		}
	})
}

// Numbers are what they were, whatever the kernel forgets.
func TestInodeNumbersStable(t *testing.T) {
	m := mountStore(t, setup{})
	aTree(t, m.Mnt)
	numbers := func() string {
		return m.run(t, m.Mnt, "find", ".", "-printf", "%i %p\n")
	}
	want := numbers()
	if os.Geteuid() == 0 {
		os.WriteFile("/proc/sys/vm/drop_caches", []byte("2"), 0)
	}
	if got := numbers(); got != want {
		t.Errorf("numbers changed:\n%s\n%s", want, got)
	}
}
