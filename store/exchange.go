package store

import (
	"golang.org/x/sys/unix"
)

// exchange swaps two names. Of different forms, the archive moves first: the plain file, which wins, is at both
// names or at its own until it moves.
func (m *move) exchange() error {
	if keyOf(&m.src.st) == keyOf(&m.dst.st) {
		return nil
	}
	if err := m.purge(); err != nil {
		return err
	}
	from, path := m.paths()
	srcHost, dstHost := m.dst.host, m.src.host // where each one goes
	var err error
	switch {
	case (m.src.a == nil) == (m.dst.a == nil):
		err = m.s.host.Rename(m.d.fd(), m.src.host, m.to.fd(), m.dst.host, unix.RENAME_EXCHANGE)
	case m.src.a != nil:
		srcHost, dstHost = archiveName(m.toName), esc(m.name)
		err = m.s.commit([]step{
			moveStep(keyOf(&m.src.st), m.d.spot(m.src.host), m.to.spot(srcHost)),
			moveStep(keyOf(&m.dst.st), m.to.spot(m.dst.host), m.d.spot(dstHost)),
			syncStep(m.d.spot("")), syncStep(m.to.spot(""))})
	default:
		srcHost, dstHost = esc(m.toName), archiveName(m.name)
		err = m.s.commit([]step{
			moveStep(keyOf(&m.dst.st), m.to.spot(m.dst.host), m.d.spot(dstHost)),
			moveStep(keyOf(&m.src.st), m.d.spot(m.src.host), m.to.spot(srcHost)),
			syncStep(m.d.spot("")), syncStep(m.to.spot(""))})
	}
	if err != nil {
		return err
	}
	const aside = "\x00aside" // no path
	m.s.cat.rename(from, aside)
	m.s.cat.rename(path, from)
	m.s.cat.rename(aside, path)
	if m.src.isDir() {
		m.s.cat.renameFolder(from, aside)
	}
	if m.dst.isDir() {
		m.s.cat.renameFolder(path, from)
	}
	if m.src.isDir() {
		m.s.cat.renameFolder(aside, path)
	}
	m.s.follow(&m.src, m.name, m.to, m.toName, srcHost)
	m.s.follow(&m.dst, m.toName, m.d, m.name, dstHost)
	return nil
}
