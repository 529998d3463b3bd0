package store

import (
	"errors"
	"strings"

	"golang.org/x/sys/unix"
)

// Form is how a name is held.
type Form uint8

// Forms.
const (
	Plain Form = iota // also folders, symlinks, devices
	Sealed
)

// Entry is the answer to a lookup.
type Entry struct {
	Attr Attr
	Form Form
	Dir  *Dir // of a folder, else nil
}

// DirEntry of ReadDir, "." and ".." left out.
type DirEntry struct {
	Name string
	Mode uint32 // S_IFMT bits
	Ino  uint64
}

// found is the host entry that a name stands for.
type found struct {
	host string
	st   unix.Statx_t
	a    *sealed // nil: plain
}

func (w *found) isDir() bool  { return w.st.Mode&unix.S_IFMT == unix.S_IFDIR }
func (w *found) isFile() bool { return w.st.Mode&unix.S_IFMT == unix.S_IFREG }

// find resolves a name by the rules of FORMAT.md 1.1. Needs ns.
func (d *Dir) find(name string) (found, error) {
	if err := d.known(name); err != nil {
		return found{}, err
	}
	if err := d.there(); err != nil {
		return found{}, err
	}
	w := found{host: esc(name)}
	var err error
	if w.st, err = d.s.host.Stat(d.fd(), w.host); err != unix.ENOENT {
		return w, err
	}
	if sealable(name) {
		w.host = archiveName(name)
		if w.st, w.a, err = d.archive(w.host); err != nil || w.a != nil {
			return w, err
		}
	}
	if !strings.HasSuffix(name, suffix) {
		return found{}, unix.ENOENT
	}
	w.host = name
	if w.st, w.a, err = d.archive(w.host); err == nil && w.a != nil {
		return found{}, unix.ENOENT
	}
	if err == nil && w.st.Ino == 0 {
		err = unix.ENOENT
	}
	return w, err
}

// archive looks at a host entry called *.excp: with nil it is none. An entry that is not there is no error,
// its Ino is 0.
func (d *Dir) archive(host string) (st unix.Statx_t, a *sealed, err error) {
	st, err = d.s.host.Stat(d.fd(), host)
	if err == unix.ENOENT {
		return unix.Statx_t{}, nil, nil
	}
	if _, may := archiveOf(host); err != nil || !may || st.Mode&unix.S_IFMT != unix.S_IFREG {
		return st, nil, err
	}
	a, err = d.s.inspect(d.fd(), host, host, &st)
	if errors.Is(err, unix.ENOENT) {
		return unix.Statx_t{}, nil, nil
	}
	if err != nil {
		return st, &sealed{is: true, err: err}, nil
	}
	if !a.is {
		a = nil
	}
	return st, a, nil
}

// Lookup finds an entry.
func (d *Dir) Lookup(name string) (Entry, error) {
	d.s.share()
	defer d.s.ns.RUnlock()
	w, err := d.find(name)
	if err != nil {
		return Entry{}, err
	}
	return d.entry(w, name)
}

// entry needs ns.
func (d *Dir) entry(w found, name string) (Entry, error) {
	if w.isDir() {
		sub, st, err := d.s.folder(d, w.host, name)
		if err != nil {
			return Entry{}, err
		}
		return Entry{Attr: d.s.attr(st, nil), Dir: sub}, nil
	}
	e := Entry{Attr: d.s.attr(w.st, w.a)}
	if w.a != nil {
		e.Form = Sealed
	}
	return e, nil
}

// ReadDir lists the folder as users see it.
func (d *Dir) ReadDir() ([]DirEntry, error) {
	d.s.share()
	defer d.s.ns.RUnlock()
	if err := d.there(); err != nil {
		return nil, err
	}
	list, err := d.s.host.ReadDir(d.fd())
	if err != nil {
		return nil, err
	}
	at := make(map[string]int, len(list))
	all := make([]DirEntry, 0, len(list))
	rules := make([]int, 0, len(list))
	for _, e := range list {
		host := e.Name()
		if d == d.s.root && host == private {
			continue
		}
		name, rule := unesc(host), 0
		st, err := d.s.host.Stat(d.fd(), host)
		var a *sealed
		if strings.HasSuffix(host, suffix) {
			st, a, err = d.archive(host)
			name, rule = host, 2
			if a != nil {
				name, _ = archiveOf(host)
				rule = 1
			}
		}
		if err != nil || st.Ino == 0 {
			continue // went in the meantime
		}
		entry := DirEntry{Name: name, Mode: uint32(st.Mode) & unix.S_IFMT, Ino: d.s.number(&st, a)}
		if i, ok := at[name]; !ok {
			at[name] = len(all)
			all = append(all, entry)
			rules = append(rules, rule)
		} else if rule < rules[i] {
			all[i], rules[i] = entry, rule
		}
	}
	return all, nil
}
