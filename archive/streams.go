package archive

import (
	"bytes"
	"encoding/binary"
	"fmt"
)

// The streams of a structured verbatim column, docs/FORMAT.md 2.8. Each holds one
// sort of thing, so that equal things stand together and compress to little.
const (
	strKinds   = iota // segments
	strMasks          // which fields of a part of a zip are told
	strValues         // numbers that are told
	strRefs           // checksums, as references to those that came before
	strNames          // texts of parts of a zip
	strRaw            // bytes that have no structure
	strSymbols        // of pickles: what to do
	strInts           // ... numbers
	strGets           // ... places in the memo
	strStrings        // ... texts
	strFixed          // ... other arguments
	numStreams
)

var streamNames = [numStreams]string{"kinds", "masks", "values", "refs", "names", "raw", "symbols", "ints", "gets", "strings", "fixed"}

// streams take values when packing, and give them back in the same order when
// unpacking. So one function describes both directions: what it passes by
// pointer is read or set. The first fault sticks, after it all values are zero.
type streams struct {
	packing bool
	out     [numStreams][]byte
	in      [numStreams]cursor
	sums    cursor // checksums not given yet
	outSums []byte
	known   []uint32          // checksums so far, each once; unpacking
	numbers map[uint32]uint64 // the same with their place in known, from 1; packing
	err     error
}

// join is the column without its form, and the checksums it takes.
func (s *streams) join() (column, sums []byte) {
	for _, p := range s.out {
		column = binary.AppendUvarint(column, uint64(len(p)))
	}
	return append(column, bytes.Join(s.out[:], nil)...), s.outSums
}

// splitStreams is the inverse of join. Of sums it may leave some.
func splitStreams(column, sums []byte) (*streams, error) {
	s := &streams{sums: cursor{p: sums}}
	c := cursor{p: column}
	var lengths [numStreams]uint64
	for i := range lengths {
		lengths[i] = c.uvarint()
	}
	for i, n := range lengths {
		s.in[i].p = c.take(n)
	}
	return s, c.end()
}

func (s *streams) fail(format string, a ...any) {
	if s.fault() == nil {
		s.err = fmt.Errorf(format, a...)
	}
	s.in = [numStreams]cursor{}
}

// fault is the first fault.
func (s *streams) fault() error {
	for i := range s.in {
		if err := s.in[i].err; s.err == nil && err != nil {
			s.err = fmt.Errorf("%s: %w", streamNames[i], err)
		}
	}
	if s.err == nil && s.sums.err != nil {
		s.err = fmt.Errorf("checksums: %w", s.sums.err)
	}
	return s.err
}

// end fails unless every stream was read to its end.
func (s *streams) end() error {
	for i := range s.in {
		if s.fault() == nil {
			s.in[i].end()
		}
	}
	return s.fault()
}

func (s *streams) byte(k int, v *byte) {
	if s.packing {
		s.out[k] = append(s.out[k], *v)
		return
	}
	*v = s.in[k].u8()
}

func (s *streams) number(k int, v *uint64) {
	if s.packing {
		s.out[k] = binary.AppendUvarint(s.out[k], *v)
		return
	}
	*v = s.in[k].uvarint()
}

// bytes are n bytes; the caller knows n.
func (s *streams) bytes(k int, n uint64, v *[]byte) {
	if s.packing {
		s.out[k] = append(s.out[k], *v...)
		return
	}
	*v = s.in[k].take(n)
}

func (s *streams) text(k int, v *[]byte) {
	n := uint64(len(*v))
	s.number(k, &n)
	s.bytes(k, n, v)
}

// sum is a checksum: 0 for one that is new, else its number among those before.
func (s *streams) sum(v *uint32) {
	if s.packing {
		ref, ok := s.numbers[*v]
		s.number(strRefs, &ref)
		if !ok {
			s.outSums = le.AppendUint32(s.outSums, *v)
			s.numbers[*v] = uint64(len(s.numbers)) + 1
		}
		return
	}
	var ref uint64
	s.number(strRefs, &ref)
	switch {
	case ref > uint64(len(s.known)):
		s.fail("checksum %d of %d", ref, len(s.known))
	case ref > 0:
		*v = s.known[ref-1]
	default:
		*v = s.sums.u32()
		s.known = append(s.known, *v)
	}
}
