package store

import (
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
func (d *Dir) Getxattr(name, attr string) ([]byte, error) {
	d.s.ns.RLock()
	defer d.s.ns.RUnlock()
	w, err := d.self(name)
	if err != nil {
		return nil, err
	}
	if strings.HasPrefix(attr, virtual) {
		if v, ok := d.virtual(&w)[attr[len(virtual):]]; ok {
			return []byte(v), nil
		}
		return nil, unix.ENODATA
	}
	return d.s.host.Getxattr(d.fd, w.host, attr)
}

// Listxattr lists them.
func (d *Dir) Listxattr(name string) ([]string, error) {
	d.s.ns.RLock()
	defer d.s.ns.RUnlock()
	w, err := d.self(name)
	if err != nil {
		return nil, err
	}
	list, err := d.s.host.Listxattr(d.fd, w.host)
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
func (d *Dir) Setxattr(name, attr string, v []byte, flags int) error {
	return d.changeXattr(name, attr, func(host string) error {
		return d.s.host.Setxattr(d.fd, host, attr, v, flags)
	})
}

// Removexattr removes one.
func (d *Dir) Removexattr(name, attr string) error {
	return d.changeXattr(name, attr, func(host string) error {
		return d.s.host.Removexattr(d.fd, host, attr)
	})
}

func (d *Dir) changeXattr(name, attr string, change func(host string) error) error {
	if d.s.readOnly {
		return unix.EROFS
	}
	d.s.ns.RLock()
	defer d.s.ns.RUnlock()
	w, err := d.self(name)
	if err != nil || strings.HasPrefix(attr, virtual) {
		return err
	}
	return change(w.host)
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
	if len(sum.Deps) > 0 {
		m["base"] = s.cat.pathOf(sum.Deps[0].ID, sum.Deps[0].Hint)
	}
	return m
}
