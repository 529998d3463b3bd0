package main

import (
	"context"
	"fmt"
	"runtime"
	"runtime/debug"

	"excpfs/archive"
)

// release is the version of the next or present release.
const release = "0.1.0"

const versionHelp = `
usage: excpfs version

Prints the version of the program and of the archive format it writes.

Example:
  excpfs version
`

func runVersion(_ context.Context, args []string) error {
	if _, err := parse(newFlags("version", versionHelp), args, 0, 0); err != nil {
		return err
	}
	fmt.Printf("excpfs %s%s, archive format %d, %s %s/%s\n",
		release, revision(), archive.Version, runtime.Version(), runtime.GOOS, runtime.GOARCH)
	return nil
}

// revision is the commit the program was built from, where the build knew it.
func revision() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	var commit, dirty string
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			commit = " (" + s.Value[:min(12, len(s.Value))]
		case s.Key == "vcs.modified" && s.Value == "true":
			dirty = ", modified"
		}
	}
	if commit == "" {
		return ""
	}
	return commit + dirty + ")"
}
