package tests

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestTranscripts runs the sessions of testdata/cli: lines after "$ " are shell
// commands, what follows is all they print, and "[exit N]" a code other than 0. In
// the expected text * stands for anything in a line and ... for any lines. Each
// session has a folder of its own with chain, the small chain of the repo, in it.
func TestTranscripts(t *testing.T) {
	list, err := filepath.Glob("testdata/cli/*.txt")
	if err != nil || len(list) == 0 {
		t.Fatalf("no transcripts: %v", err)
	}
	for _, path := range list {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txt"), func(t *testing.T) { transcript(t, path) })
	}
}

func transcript(t *testing.T, path string) {
	text := string(read(t, path))
	if strings.Contains(text, "excpfs mount") {
		needFuse(t)
	}
	dir := t.TempDir()
	must(t, "cp", "-r", fixture, filepath.Join(dir, "chain"))
	must(t, "chmod", "-R", "u+w", filepath.Join(dir, "chain"))
	defer func() {
		for point := range leftovers() {
			if strings.HasPrefix(point, dir+"/") {
				command(t, binary, "umount", "--timeout", "0", point)
			}
		}
	}()
	env := []string{"PATH=" + filepath.Dir(binary) + ":" + os.Getenv("PATH"), "TMP=" + dir}
	for _, s := range steps(text) {
		r := commandIn(t, dir, env, "sh", "-c", "exec 2>&1\n"+s.command)
		got := r.stdout
		if r.code != 0 {
			got += fmt.Sprintf("[exit %d]\n", r.code)
		}
		got = strings.ReplaceAll(got, dir+"/", "")
		if !s.matches(got) {
			t.Errorf("$ %s\nprinted:\n%s\nexpected:\n%s", s.command, got, strings.Join(s.want, "\n"))
		}
	}
}

type step struct {
	command string
	want    []string
}

func steps(text string) []step {
	var list []step
	for _, line := range strings.Split(strings.TrimRight(text, "\n"), "\n") {
		switch c, ok := strings.CutPrefix(line, "$ "); {
		case strings.HasPrefix(line, "# "):
		case ok:
			list = append(list, step{command: c})
		case line != "" || len(list) > 0 && len(list[len(list)-1].want) > 0:
			last := &list[len(list)-1]
			last.want = append(last.want, line)
		}
	}
	return list
}

func (s step) matches(got string) bool {
	var pattern strings.Builder
	pattern.WriteString(`^`)
	want := s.want
	for len(want) > 0 && want[len(want)-1] == "" {
		want = want[:len(want)-1]
	}
	for _, line := range want {
		if line == "..." {
			pattern.WriteString(`(?:.*\n)*`)
			continue
		}
		pattern.WriteString(strings.ReplaceAll(regexp.QuoteMeta(line), `\*`, `.*`) + `[ ]*\n`)
	}
	pattern.WriteString(`$`)
	return regexp.MustCompile(pattern.String()).MatchString(got)
}

// TestHelp: every verb explains itself, with an example and the exit codes.
func TestHelp(t *testing.T) {
	overview := excpfs(t, 0, "help").stdout
	for _, verb := range []string{"mount", "umount", "wait", "pack", "unpack", "ls", "inspect", "verify", "version"} {
		contains(t, overview, "\n  "+verb+" ")
		for _, args := range [][]string{{verb, "--help"}, {"help", verb}, {verb, "-h"}} {
			text := excpfs(t, 0, args...).stdout
			contains(t, text, "usage: excpfs "+verb)
			contains(t, text, "Example:\n  excpfs "+verb)
			contains(t, text, "Exit codes: 0 ")
		}
	}
}

// TestNoStoreIsMade: asking about a folder does not change it.
func TestNoStoreIsMade(t *testing.T) {
	dir := t.TempDir()
	must(t, "cp", "-r", checkpoint("500"), dir)
	before := fingerprint(t, dir)
	excpfs(t, 0, "ls", "-l", dir)
	excpfs(t, 0, "verify", dir)
	if after := fingerprint(t, dir); after != before {
		t.Errorf("before:\n%s\nafter:\n%s", before, after)
	}
}
