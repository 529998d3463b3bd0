package main

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
)

// openLog logs to the daemon's file, or to standard error in the foreground.
func openLog(c mountConfig, ready *readiness) (*slog.Logger, error) {
	level := slog.LevelInfo
	if c.debug {
		level = slog.LevelDebug
	}
	out := os.Stderr
	if c.log != "" || ready != nil {
		var err error
		if out, err = openLogFile(c); err != nil {
			return nil, err
		}
	}
	return slog.New(slog.NewTextHandler(out, &slog.HandlerOptions{Level: level})), nil
}

// openLogFile opens the daemon's log for appending; one that has grown large
// makes room first.
func openLogFile(c mountConfig) (*os.File, error) {
	path := c.log
	if path == "" {
		dir := stateDir()
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return nil, fmt.Errorf("no place for the log: %w; choose one with --log FILE", err)
		}
		name := strings.ReplaceAll(strings.Trim(c.point, "/"), "/", "-")
		path = filepath.Join(dir, name[max(0, len(name)-200):]+".log")
	}
	if st, err := os.Stat(path); err == nil && st.Size() > 16<<20 {
		os.Rename(path, path+".old")
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return nil, fmt.Errorf("no log: %w; choose another with --log FILE", err)
	}
	return f, nil
}

func stateDir() string {
	if os.Geteuid() == 0 {
		return "/var/log/excpfs"
	}
	if dir := os.Getenv("XDG_STATE_HOME"); dir != "" {
		return filepath.Join(dir, "excpfs")
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return filepath.Join(os.TempDir(), fmt.Sprintf("excpfs-%d", os.Geteuid()))
	}
	return filepath.Join(home, ".local/state/excpfs")
}
