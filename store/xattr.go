package store

import (
	"context"
	"fmt"
	"math"
	"os"
	"strconv"
	"strings"

	"excpfs/archive"
	"excpfs/tensor"

	"golang.org/x/sys/unix"
)

const virtual = "user.excpfs."

// Xattrs: the host's, and the virtual user.excpfs.* of files (state, profile, base, depth,
// stored, ratio, error) and of the root (store, pid). Setting or removing a virtual one
// succeeds and does nothing. name "" means the folder itself.

// Getxattr reads one.
func (f File) Getxattr(attr string) ([]byte, error) {
	d := f.Dir
	if d.s.readOnly && attr == virtual+"base" {
		if err := d.s.scanned(context.Background()); err != nil {
			return nil, err
		}
	}
	d.s.share()
	defer d.s.ns.RUnlock()
	w, err := f.find()
	if err != nil {
		return nil, err
	}
	if strings.HasPrefix(attr, virtual) {
		if v, ok := d.virtual(&w)[attr[len(virtual):]]; ok {
			return []byte(v), nil
		}
		return nil, unix.ENODATA
	}
	return d.s.host.Getxattr(d.fd(), w.host, attr)
}

// Listxattr lists them.
func (f File) Listxattr() ([]string, error) {
	d := f.Dir
	d.s.share()
	defer d.s.ns.RUnlock()
	w, err := f.find()
	if err != nil {
		return nil, err
	}
	list, err := d.s.host.Listxattr(d.fd(), w.host)
	if err != nil && err != unix.EOPNOTSUPP {
		return nil, err
	}
	list = append([]string{}, list...)
	for attr := range d.virtual(&w) {
		list = append(list, virtual+attr)
	}
	return list, nil
}

// Setxattr sets one.
func (f File) Setxattr(attr string, v []byte, flags int) error {
	return f.changeXattr(attr, func(host string) error {
		return f.Dir.s.host.Setxattr(f.Dir.fd(), host, attr, v, flags)
	})
}

// Removexattr removes one.
func (f File) Removexattr(attr string) error {
	return f.changeXattr(attr, func(host string) error {
		return f.Dir.s.host.Removexattr(f.Dir.fd(), host, attr)
	})
}

func (f File) changeXattr(attr string, change func(host string) error) error {
	s := f.Dir.s
	if s.readOnly {
		return unix.EROFS
	}
	s.share()
	defer s.ns.RUnlock()
	w, err := f.find()
	if err != nil || strings.HasPrefix(attr, virtual) {
		return err
	}
	return change(w.host)
}

// The same for an open file, whether or not it has a name; the virtual ones are left out.

// Getxattr reads one.
func (h *Handle) Getxattr(attr string) ([]byte, error) {
	return h.s.host.Fgetxattr(h.host(), attr)
}

// Listxattr lists them.
func (h *Handle) Listxattr() ([]string, error) {
	list, err := h.s.host.Flistxattr(h.host())
	if err == unix.EOPNOTSUPP {
		err = nil
	}
	return list, err
}

// Setxattr sets one.
func (h *Handle) Setxattr(attr string, v []byte, flags int) error {
	if h.s.readOnly {
		return unix.EROFS
	}
	if strings.HasPrefix(attr, virtual) {
		return nil
	}
	return h.s.host.Fsetxattr(h.host(), attr, v, flags)
}

// Removexattr removes one.
func (h *Handle) Removexattr(attr string) error {
	if h.s.readOnly {
		return unix.EROFS
	}
	if strings.HasPrefix(attr, virtual) {
		return nil
	}
	return h.s.host.Fremovexattr(h.host(), attr)
}

// errorText is the relative RMS error by role, of the roles that the file has.
func errorText(sum *archive.Summary) string {
	var roles []string
	for role, e := range sum.Error {
		if !math.IsNaN(e) {
			roles = append(roles, fmt.Sprintf("%s %.4g", tensor.Role(role), e))
		}
	}
	return strings.Join(roles, ", ")
}

// virtual gives the attributes that nothing on the host stands for. Needs ns.
func (d *Dir) virtual(w *found) map[string]string {
	s := d.s
	switch {
	case d == s.root && w.host == ".":
		return map[string]string{"store": s.path, "pid": strconv.Itoa(os.Getpid())}
	case !w.isFile():
		return nil
	case w.a == nil:
		return map[string]string{"state": s.state(keyOf(&w.st))}
	}
	stored := int64(w.st.Size)
	m := map[string]string{"state": "sealed", "stored": strconv.FormatInt(stored, 10)}
	if w.a.err != nil {
		m["state"] = "failed: " + w.a.err.Error()
		return m
	}
	sum := w.a.summary
	m["profile"] = sum.Profile.Name
	m["depth"] = strconv.Itoa(int(sum.Depth))
	m["ratio"] = fmt.Sprintf("%.2f", float64(sum.Size)/float64(max(stored, 1)))
	m["error"] = errorText(sum)
	if dep, ok := baseOf(sum); ok {
		m["base"] = s.nameOf(dep)
	}
	return m
}

// baseOf is what an archive is a difference to, as people see it: its base, else that of its
// weights, else the weights.
func baseOf(sum *archive.Summary) (archive.Dep, bool) {
	for _, role := range []archive.Role{archive.RoleBase, archive.RoleWeightsBase, archive.RoleWeights} {
		for _, d := range sum.Deps {
			if d.Role == role {
				return d, true
			}
		}
	}
	return archive.Dep{}, false
}

// nameOf is the path of a live archive of the content, else "retained" and the content's first digits. Needs ns.
func (s *Store) nameOf(dep archive.Dep) string {
	if path := s.cat.pathOf(dep.ID, dep.Hint); path != "" {
		return path
	}
	if s.holds(dep.Hint, dep.ID) { // not scanned yet, or put there meanwhile
		return dep.Hint
	}
	return fmt.Sprintf("retained %x", dep.ID[:6])
}

// holds tells whether the archive at a path is of a content. Needs ns.
func (s *Store) holds(path string, id archive.ID) bool {
	folder, name := cutLast(path)
	d, err := s.dirAt(folder)
	if err != nil {
		return false
	}
	defer d.Release()
	w, err := d.find(name)
	return err == nil && w.a != nil && w.a.summary != nil && w.a.summary.ID == id
}
