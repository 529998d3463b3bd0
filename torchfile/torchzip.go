package torchfile

import (
	"io"
	"strings"
)

// openZip takes apart a file that is one torch zip.
func openZip(r io.ReaderAt, z zipEnd) (*file, error) {
	f := &file{format: Format, taken: map[string]bool{}}
	return f, f.addZip(r, z)
}

// addZip takes one torch zip apart. Names are given below prefix.
func (f *file) addZip(r io.ReaderAt, z zipEnd, prefix ...string) error {
	records, err := readRecords(r, z)
	if err != nil {
		return err
	}
	byName := map[string]*record{}
	for i := range records {
		c := &records[i]
		if byName[c.name] != nil {
			return malformed("record %q twice", c.name)
		}
		byName[c.name] = c
	}
	folder, err := findFolder(records, byName)
	if err != nil {
		return err
	}
	m, object, err := walkRecord(r, byName[folder+"data.pkl"])
	if err != nil {
		return err
	}
	little, err := littleEndian(r, byName[folder+"byteorder"])
	if err != nil {
		return err
	}
	if err := nameStorages(object, prefix...); err != nil {
		return err
	}
	f.roots = append(f.roots, root{object, prefix})
	for _, s := range m.order {
		if c := byName[folder+"data/"+s.key]; little && c != nil && c.plain() {
			f.add(s, c.data, c.len, c.crcs)
		}
	}
	return nil
}

// findFolder is the folder inside the zip that holds everything: torch.save
// names it after the file, or "archive". It is the first part of the first name.
func findFolder(records []record, byName map[string]*record) (string, error) {
	if len(records) == 0 {
		return "", malformed("no records")
	}
	folder, _, ok := strings.Cut(records[0].name, "/")
	folder += "/"
	c := byName[folder+"data.pkl"]
	switch {
	case !ok || c == nil:
		return "", malformed("no data.pkl in the zip's folder")
	case !c.plain():
		return "", malformed("data.pkl is compressed or encrypted")
	case c.len > maxPickle:
		return "", malformed("data.pkl of %d bytes", c.len)
	}
	return folder, nil
}

func walkRecord(r io.ReaderAt, c *record) (*machine, value, error) {
	s := newSource(r, c.data, c.data+c.len)
	m, root, err := walk(s)
	if err == nil && s.left() > 0 {
		err = malformed("%d bytes after the pickle", s.left())
	}
	return m, root, err
}

// littleEndian reads the record that says so; files without it are.
func littleEndian(r io.ReaderAt, c *record) (bool, error) {
	if c == nil {
		return true, nil
	}
	const little = "little"
	if !c.plain() || c.len != int64(len(little)) {
		return false, nil
	}
	b := make([]byte, c.len)
	err := readAt(r, b, c.data)
	return string(b) == little, err
}

// add notes where a storage is, and makes it an extent if it has a type that
// fits its bytes.
func (f *file) add(s *storage, at, length int64, crcs []int64) {
	s.placed, s.at, s.length = true, at, length
	d, shape, ok := s.describe(length)
	name := f.unique(s)
	if !ok || len(name) > maxName {
		return
	}
	x := extent{crcs: crcs, opaque: s.opaque}
	x.Name, x.DType, x.Shape, x.Offset, x.Length = name, d, shape, at, length
	if length == 0 {
		x.crcs = nil // the CRC of nothing does not change
	}
	f.extents = append(f.extents, x)
}
