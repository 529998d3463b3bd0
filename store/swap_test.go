package store

import (
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// Nothing of a swap may come before what it relies on is on the disk.
func TestSwapOrder(t *testing.T) {
	e := newEnv(t)
	e.mkdir("run")
	e.write("run/a", contentA)
	p, _ := e.pending("run/a")
	var ops []string
	e.hook = func(op, name string) error {
		if strings.HasPrefix(op, "set") || strings.HasPrefix(op, "remove") { // xattrs
			return nil
		}
		if len(name) >= 16 { // names in .excpfs are numbers
			name = "NUMBER"
		}
		ops = append(ops, op+" "+name)
		return nil
	}
	e.must(e.sealPending(p))
	at := slices.Index(ops, "fsync NUMBER") // what comes before makes and dresses the temporary file
	if at < 0 {
		t.Fatalf("the temporary file is not synced: %q", ops)
	}
	want := []string{
		"fsync NUMBER",                                           // the temporary file, its owner, mode and times given
		"open NUMBER", "write NUMBER", "fsync NUMBER", "fsync .", // the intent
		"rename NUMBER", "fsync .",
		"unlink a", "fsync .",
		"utimens .",
		"unlink NUMBER", "fsync .", // the intent
		"write queue",
	}
	if got := ops[at:]; !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	if before := ops[:at]; !slices.Contains(before, "chown NUMBER") || !slices.Contains(before, "chmod NUMBER") || !slices.Contains(before, "utimens NUMBER") {
		t.Errorf("before the first fsync: %q", before)
	}
}

// A file with bytes has blocks, whatever the host says of its archive.
func TestBlocksNeverZero(t *testing.T) {
	e := newEnv(t)
	e.seal("a", contentA, nil)
	d, _ := e.at("")
	st, a, err := d.archive("a.excp")
	e.must(err)
	for _, c := range []struct {
		stored uint64
		size   int64
		want   uint64
	}{{0, 1, 1}, {0, 1 << 40, 1}, {0, 0, 0}, {7, 9, 7}} {
		st, sum := st, *a.summary
		st.Blocks, sum.Size = c.stored, c.size
		got := e.s.attr(st, &sealed{is: true, summary: &sum})
		if got.Blocks != c.want || got.Size != uint64(c.size) {
			t.Errorf("%+v: %d blocks of %d bytes", c, got.Blocks, got.Size)
		}
	}
	plain := unix.Statx_t{Size: 1 << 20, Mode: unix.S_IFREG} // a hole
	if got := e.s.attr(plain, nil); got.Blocks != 0 {
		t.Errorf("%d blocks of a hole", got.Blocks)
	}
}

func TestGrace(t *testing.T) {
	if grace.String() != "1h0m0s" {
		t.Errorf("grace is %v", grace)
	}
}
