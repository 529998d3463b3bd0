package archive

import (
	"bytes"
	"encoding/binary"
)

// segment is a run of verbatim bytes of one kind.
type segment struct {
	kind     uint8
	from, to int64
}

// scanner divides verbatim bytes into segments. Nothing depends on what it
// finds but the size of the archive: each segment stands for its bytes.
type scanner struct {
	v       []byte
	g       *gaps
	opening bool  // a pickle or a count may begin here
	tried   int64 // no pickle begins before: one was looked for up to here
	pickles int   // of the zip
	payload int64 // where in the file the record of the last local header begins; -1: there was none
}

func scan(v []byte, g *gaps) (all []segment) {
	s := scanner{v: v, g: g, opening: true, payload: -1}
	raw := int64(0)
	flush := func(to int64) {
		if raw < to {
			all = append(all, segment{segRaw, raw, to})
		}
	}
	for i := int64(0); i < g.size; {
		kind, n := s.find(i)
		if n == 0 {
			i = s.next(i)
			continue
		}
		flush(i)
		all = append(all, segment{kind, i, i + n})
		i += n
		raw = i
		s.opening = kind == segLocal || kind == segPickle || s.g.tensor(i) != nil
	}
	flush(g.size)
	return all
}

// next is the next place where a segment may begin.
func (s *scanner) next(i int64) int64 {
	edge := s.g.edge(i)
	if k := bytes.Index(s.v[i+1:edge], []byte("PK")); k >= 0 {
		s.opening = false
		return i + 1 + int64(k)
	}
	s.opening = true
	return edge
}

// find looks for a segment that begins at i.
func (s *scanner) find(i int64) (kind uint8, n int64) {
	if s.opening {
		if n := s.pickle(i); n > 0 {
			s.pickles++
			return segPickle, n
		}
		if s.count(i) {
			return segCount, 8
		}
	}
	if !bytes.HasPrefix(s.v[i:], []byte("PK")) {
		return 0, 0
	}
	var t part
	for kind := uint8(segLocal); kind <= segEnd; kind++ {
		n := int64(t.parse(kind, s.v[i:]))
		switch {
		case n == 0:
			continue
		case kind == segLocal:
			s.payload = s.g.end(i + n)
		case kind == segEnd:
			s.pickles = 0
		case kind <= segDescriptor64 && (s.payload < 0 || t.num[1] != uint64(s.g.begin(i)-s.payload)):
			continue // the other descriptor, or none
		}
		return kind, n
	}
	return 0, 0
}

func (s *scanner) pickle(i int64) int64 {
	if i < s.tried || s.v[i] != opProto || s.pickles == picklesMax {
		return 0
	}
	p := s.v[i:s.g.edge(i)]
	at := 0
	for at < len(p) {
		t, n := nextToken(p[at:])
		if n == 0 {
			break
		}
		at += n
		if t.op == opStop {
			return int64(at)
		}
	}
	s.tried = i + int64(at)
	return 0
}

func (s *scanner) count(i int64) bool {
	edge := s.g.edge(i)
	if edge-i != 8 {
		return false
	}
	t := s.g.tensor(edge)
	return t != nil && binary.LittleEndian.Uint64(s.v[i:]) == uint64(t.Elems())
}
