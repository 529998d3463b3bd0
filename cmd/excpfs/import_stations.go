package main

import (
	"cmp"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// station is a checkpoint of the series.
type station struct {
	dir  string
	dest string // its folder in the store
	full bool
}

// stations lists the checkpoints in order.
func stations(sources []string, dest string) (list []station, err error) {
	taken := map[string]string{}
	for _, src := range sources {
		dirs, at := []string{src}, dest
		if !isCheckpoint(src) {
			if dirs, err = numberedIn(src); err != nil {
				return nil, err
			}
			if len(sources) > 1 {
				at = path.Join(dest, filepath.Base(mustAbs(src)))
			}
		}
		for _, dir := range dirs {
			to := path.Join(at, filepath.Base(mustAbs(dir)))
			if other, ok := taken[to]; ok {
				return nil, fmt.Errorf("%s and %s have one place, %s", other, dir, to)
			}
			taken[to] = dir
			list = append(list, station{dir, to, len(list) == 0 || !has(dir, deltaFile)})
		}
	}
	if first := list[0].dir; !has(first, modelFile) || !has(first, stateFile) {
		return nil, fmt.Errorf("%s begins the series and must be full: %s and %s are needed there", first, modelFile, stateFile)
	}
	return list, nil
}

func has(dir, name string) bool {
	st, err := os.Stat(filepath.Join(dir, name))
	return err == nil && st.Mode().IsRegular()
}

func isCheckpoint(dir string) bool {
	return has(dir, deltaFile) || has(dir, modelFile) && has(dir, stateFile)
}

func mustAbs(p string) string {
	if abs, err := filepath.Abs(p); err == nil {
		return abs
	}
	return p
}

// numberedIn lists the checkpoints in a folder in the order of their numbers.
func numberedIn(dir string) (list []string, err error) {
	all, err := filesOf(dir)
	if err != nil {
		return nil, err
	}
	list = slices.DeleteFunc(all, func(p string) bool { return !isCheckpoint(p) })
	if len(list) == 0 {
		return nil, fmt.Errorf("%s has no folder with a %s, nor with %s and %s", dir, deltaFile, modelFile, stateFile)
	}
	slices.SortFunc(list, func(a, b string) int {
		x, m := lastNumber(a)
		y, n := lastNumber(b)
		return cmp.Or(strings.Compare(x, y), cmp.Compare(m, n), strings.Compare(a, b))
	})
	return list, nil
}

// lastNumber takes the number off the end of a name.
func lastNumber(p string) (before string, n int) {
	before = strings.TrimRight(p, "0123456789")
	n, _ = strconv.Atoi(p[len(before):])
	return before, n
}
