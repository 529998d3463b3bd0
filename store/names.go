package store

import (
	"strings"

	"golang.org/x/sys/unix"
)

const (
	suffix  = ".excp"   // of an archive
	private = ".excpfs" // at the root
	nameMax = 255
)

// esc is the host name of the plain file shown as user.
func esc(user string) string {
	if strings.HasSuffix(strings.TrimRight(user, "~"), suffix) {
		return user + "~"
	}
	return user
}

// unesc is the name that a host entry which is no archive is shown under.
func unesc(host string) string {
	stem := strings.TrimRight(host, "~")
	if len(stem) < len(host) && strings.HasSuffix(stem, suffix) {
		return host[:len(host)-1]
	}
	return host
}

// archiveName is the host name of the archive of user.
func archiveName(user string) string { return esc(user) + suffix }

// archiveOf is the reverse; false: a host entry of this name is never an archive.
func archiveOf(host string) (user string, ok bool) {
	stem, ok := strings.CutSuffix(host, suffix)
	if !ok || stem == "" || strings.HasSuffix(stem, suffix) {
		return "", false
	}
	return unesc(stem), true
}

// sealable tells whether the archive of user has a name that the host takes.
func sealable(user string) bool { return len(archiveName(user)) <= nameMax }

// known refuses what can be no name of an entry of d.
func (d *Dir) known(name string) error {
	switch {
	case name == "" || name == "." || name == ".." || strings.ContainsAny(name, "/\x00"):
		return unix.EINVAL
	case d == d.s.root && name == private:
		return unix.ENOENT
	}
	return nil
}

// makeable is known for a name that is to be made.
func (d *Dir) makeable(name string) error {
	err := d.known(name)
	if err == unix.ENOENT {
		return unix.EPERM
	}
	return err
}

func join(folder, name string) string {
	if folder == "" {
		return name
	}
	return folder + "/" + name
}

func cutLast(path string) (folder, name string) {
	i := strings.LastIndexByte(path, '/')
	return path[:max(i, 0)], path[i+1:]
}
