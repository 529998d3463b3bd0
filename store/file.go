package store

import (
	"golang.org/x/sys/unix"
)

// File addresses an entry by name and number: where the name leads to another by now, its
// methods answer ESTALE and change nothing. Ino 0 is whatever is there, Name "" the folder itself.
type File struct {
	Dir  *Dir
	Name string
	Ino  uint64
}

// find needs ns.
func (f File) find() (w found, err error) {
	if f.Name == "" {
		w.host = "."
		w.st, err = f.Dir.s.host.Stat(f.Dir.fd(), ".")
		return w, err
	}
	if w, err = f.Dir.find(f.Name); err == nil {
		err = f.is(&w)
	}
	return w, err
}

func (f File) is(w *found) error {
	if f.Ino != 0 && f.Dir.s.number(&w.st, w.a) != f.Ino {
		return unix.ESTALE
	}
	return nil
}

// Open opens whatever file has the name.
func (d *Dir) Open(name string, flags int) (*Handle, error) {
	return File{Dir: d, Name: name}.Open(flags)
}

// SetAttr changes what set names.
func (d *Dir) SetAttr(name string, set SetAttr) (Attr, error) {
	return File{Dir: d, Name: name}.SetAttr(set)
}

// Getxattr reads one extended attribute.
func (d *Dir) Getxattr(name, attr string) ([]byte, error) {
	return File{Dir: d, Name: name}.Getxattr(attr)
}
