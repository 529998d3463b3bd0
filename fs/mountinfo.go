package fs

import (
	"os"
	"strconv"
	"strings"
)

// MountInfo is a line of /proc/self/mountinfo.
type MountInfo struct{ Point, Kind, Source string }

// Mounts lists what is mounted, the topmost of a place last.
func Mounts() ([]MountInfo, error) {
	b, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	var list []MountInfo
	for line := range strings.Lines(string(b)) {
		left, right, ok := strings.Cut(line, " - ")
		l, r := strings.Fields(left), strings.Fields(right)
		if ok && len(l) > 4 && len(r) > 1 {
			list = append(list, MountInfo{unescape(l[4]), r[0], unescape(r[1])})
		}
	}
	return list, nil
}

// unescape undoes the \ooo that the kernel writes for space, tab, newline and backslash.
func unescape(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) {
			if c, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				b.WriteByte(byte(c))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}
