package torchfile

import (
	"bytes"
	"io"
)

// legacyMagic is the first pickle of a legacy file after its PROTO opcode: the
// number 0x1950a86a20f9469cfc6c and STOP.
const legacyMagic = "\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19."

const legacyProtocol = 1001

// sniffLegacy reports whether a file that begins with head is a legacy one.
func sniffLegacy(head []byte) bool {
	if len(head) < 2 || head[0] != 0x80 {
		return false
	}
	head = head[2:]
	if len(head) > 9 && head[0] == 0x95 { // FRAME
		head = head[9:]
	}
	return bytes.HasPrefix(head, []byte(legacyMagic))
}

// openLegacy takes apart five pickles (magic number, protocol, facts about the
// machine, the object, the keys of its storages) and the storages in the order
// of the keys, each after its number of elements.
func openLegacy(r io.ReaderAt, size int64) (*file, error) {
	s := newSource(r, 0, size)
	if _, _, err := walk(s); err != nil { // the magic number, known
		return nil, err
	}
	_, protocol, err := walk(s)
	if err != nil {
		return nil, err
	}
	_, info, err := walk(s)
	if err != nil {
		return nil, err
	}
	if protocol != value(int64(legacyProtocol)) || !saysLittle(info) {
		return nil, malformed("legacy file of another protocol or byte order")
	}
	m, object, err := walk(s)
	if err != nil {
		return nil, err
	}
	_, keys, err := walk(s)
	if err != nil {
		return nil, err
	}
	if err := nameStorages(object); err != nil {
		return nil, err
	}
	f := &file{format: FormatLegacy, roots: []root{{value: object}}, taken: map[string]bool{}}
	return f, f.legacyStorages(r, m, keys, s.pos, size)
}

func saysLittle(info value) bool {
	d, ok := info.(*dict)
	if !ok {
		return false
	}
	return d.get("little_endian") == value(true)
}

// legacyStorages finds the storages from at to the end of the file.
func (f *file) legacyStorages(r io.ReaderAt, m *machine, keys value, at, size int64) error {
	list, ok := keys.(*list)
	if !ok || len(list.items) != len(m.storages) {
		return malformed("keys of the storages do not fit the object")
	}
	seen := map[*storage]bool{}
	for _, k := range list.items {
		key, _ := k.(string)
		s := m.storages[key]
		if s == nil || seen[s] {
			return malformed("key %q has no storage, or comes twice", key)
		}
		seen[s] = true
		length, err := legacyLength(r, s, at, size)
		if err != nil {
			return err
		}
		f.add(s, at+8, length, nil)
		at += 8 + length
	}
	if at != size {
		return malformed("%d bytes after the last storage", size-at)
	}
	return nil
}

// legacyLength is the length in bytes of the storage whose count stands at at.
func legacyLength(r io.ReaderAt, s *storage, at, size int64) (int64, error) {
	c, ok := classes[s.class]
	if !ok {
		return 0, malformed("storage %q of the unknown class %q", s.key, s.class)
	}
	if size-at < 8 {
		return 0, malformed("cut before storage %q", s.key)
	}
	var b [8]byte
	if err := readAt(r, b[:], at); err != nil {
		return 0, err
	}
	n := u64(b[:], 0)
	if n != uint64(s.numel) {
		return 0, malformed("storage %q has %d elements, not %d", s.key, n, s.numel)
	}
	if left := size - at - 8; s.numel > left/c.width {
		return 0, malformed("storage %q of %d elements is cut at %d bytes", s.key, n, left)
	}
	return s.numel * c.width, nil
}
