package torchfile

import (
	"io"
	"strconv"
	"strings"

	"excpfs/tensor"
)

// ParseNamed reads the layout of a .distcp file of size bytes whose items
// Metadata lists. It is that of Parse but for the names: those of the items, with
// the place of the chunk where the file has several of one tensor. Items that do
// not cover the file are those of another: that is a *FormatError, and Parse is
// still to be tried.
func ParseNamed(r io.ReaderAt, size int64, items []Item) (*tensor.Layout, error) {
	at, count := int64(0), map[string]int{}
	for _, x := range items {
		if x.Offset != at || x.Length < 0 || x.Length > size-at {
			return nil, malformed("item %q at byte %d, not %d", x.FQN, x.Offset, at)
		}
		at += x.Length
		count[x.FQN]++
	}
	if at != size {
		return nil, malformed("items of %d bytes, not %d", at, size)
	}
	f := &file{format: FormatDistcp, taken: map[string]bool{}}
	for _, x := range items {
		name := x.FQN
		if count[name] > 1 {
			name = chunkName(name, x.Chunk)
		}
		z, err := findEnd(r, x.Offset+x.Length)
		if err == nil && z.start == x.Offset {
			err = f.addZip(r, z, name)
		}
		if err != nil && !isMalformed(err) {
			return nil, err
		}
	}
	if len(f.roots) == 0 {
		return nil, malformed("no torch zip among %d items", len(items))
	}
	return f.layout(size)
}

// chunkName tells the chunks of a tensor apart by where they begin: NAME[2,0].
// tensor.RoleOf finds the same name for the chunk of a weight and of its moments.
func chunkName(fqn string, chunk []int64) string {
	var s []string
	for _, n := range chunk {
		s = append(s, strconv.FormatInt(n, 10))
	}
	mark := "[" + strings.Join(s, ",") + "]"
	if role, _ := tensor.RoleOf(fqn); role != tensor.Weight {
		if weight, ok := strings.CutSuffix(fqn, "."+role.String()); ok {
			return weight + mark + "." + role.String()
		}
	}
	return fqn + mark
}
