package store

import (
	"fmt"
	"hash/crc32"
	"strings"
	"testing"
)

// An intent that is accepted is written again as it was, up to the spelling of its fields, and means the same.
func FuzzIntent(f *testing.F) {
	f.Add("move 7.-3 \"a/\\xff\" \"n\\n\" \"\" \"m\"\nsync \"a\"\n")
	f.Add("link 1.2 \"\" \"a\" \"b\" \"c\"\nunlink 1.2 \"\" \"a\"\nunlinksame 1.2 3 4 5 \"x\" \"y\"\nmtime \"\" -5\n")
	f.Add("")
	f.Add("chmod 1.2 \"a\"\n")
	f.Fuzz(func(t *testing.T, body string) {
		b := intentHead + body
		b += fmt.Sprintf("end %08x\n", crc32.Checksum([]byte(b), castagnoli))
		steps, ok, err := parseIntent(b)
		if err != nil || !ok {
			return
		}
		again, ok, err := parseIntent(string(formatIntent(steps)))
		if err != nil || !ok || len(again) != len(steps) {
			t.Fatalf("%q: %v %v", formatIntent(steps), ok, err)
		}
		for i := range steps {
			if steps[i] != again[i] {
				t.Fatalf("%+v\n%+v", steps[i], again[i])
			}
		}
	})
}

// The queue of a journal is that of the journal written anew.
func FuzzQueue(f *testing.F) {
	f.Add("+ 1.2 \"a\"\n- 1.2\n+ 3.4 \"b c\"\n+ 3.4 \"\\xff\"\n+ 5.")
	f.Add("nonsense\n\n+\n- 1\n+ 1.2\n")
	f.Fuzz(func(t *testing.T, text string) {
		paths, order := parseQueue([]byte(text))
		var anew strings.Builder
		for _, k := range order {
			fmt.Fprintf(&anew, "+ %v %s\n", k, quote(paths[k]))
		}
		again, orderAgain := parseQueue([]byte(anew.String()))
		if len(order) != len(orderAgain) || len(order) > strings.Count(text, "\n") {
			t.Fatalf("%d, %d", len(order), len(orderAgain))
		}
		for i, k := range order {
			if orderAgain[i] != k || again[k] != paths[k] {
				t.Fatalf("%v %q, %v %q", k, paths[k], orderAgain[i], again[k])
			}
		}
	})
}
