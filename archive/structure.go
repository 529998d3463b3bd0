package archive

import (
	"fmt"
	"slices"
)

// packStructured is the structured form of verbatim bytes, and the checksums
// that it takes; nil: they have no structure.
func packStructured(v []byte, g *gaps) (column, sums []byte) {
	segments := scan(v, g)
	if len(segments) == 0 || len(segments) == 1 && segments[0].kind == segRaw {
		return nil, nil
	}
	c := &coder{streams: &streams{packing: true, numbers: map[uint32]uint64{}}, g: g, v: v}
	c.hints(segments)
	c.head()
	for _, s := range segments {
		c.byte(strKinds, &s.kind)
		c.segment(s)
	}
	c.finishZip()
	return c.join()
}

// unpackStructured is the inverse of packStructured. It returns the checksums that it did not take.
func unpackStructured(column, sums []byte, g *gaps) (v, rest []byte, err error) {
	if limit := structuredLimit(int64(len(column))); g.size > limit {
		return nil, nil, fmt.Errorf("%d bytes unpack to %d, more than %d", len(column), g.size, limit)
	}
	s, err := splitStreams(column, sums)
	if err != nil {
		return nil, nil, err
	}
	c := &coder{streams: s, g: g, v: make([]byte, g.size)}
	c.head()
	for len(c.in[strKinds].p) > 0 {
		var s segment
		if c.byte(strKinds, &s.kind); s.kind >= numKinds {
			c.fail("segment of kind %d", s.kind)
			break
		}
		c.segment(s)
	}
	c.finishZip()
	if c.at < g.size {
		c.fail("%d bytes of %d", c.at, g.size)
	}
	return c.v, c.sums.p, c.end()
}

// structuredLimit is the most that n bytes may unpack to.
func structuredLimit(n int64) int64 { return min(packedMax, n*packedGrow+structuredFree) }

// head codes what holds for all segments.
func (c *coder) head() {
	align := uint64(c.align)
	c.number(strValues, &align)
	c.number(strValues, &c.keys)
	if align > max16 || c.keys > max32 {
		c.fail("alignment %d, %d keys", align, c.keys)
		return
	}
	c.align = int64(align)
}

// hints finds out what the local headers agree in: the alignment of their
// payloads, and the order of the numbers at the end of their names.
func (c *coder) hints(segments []segment) {
	var numbers []int64
	start := int64(-1)
	for _, s := range segments {
		switch {
		case s.kind == segEnd:
			start = -1
		case s.kind == segLocal:
			var t part
			t.parse(segLocal, c.v[s.from:])
			if start < 0 {
				start = c.g.begin(s.from)
			}
			if hasPadding(t.text[1]) {
				c.align = gcd(c.align, c.g.end(s.to)-start)
			}
			if _, v, ok := numbered(t.text[0]); ok {
				numbers = append(numbers, v)
			}
		}
	}
	if c.align > max16 {
		c.align = 0
	}
	c.keys = keyOrder(numbers)
}

// keyOrder is coder.keys that predicts most of the numbers.
func keyOrder(numbers []int64) uint64 {
	if len(numbers) == 0 {
		return 0
	}
	n := slices.Max(numbers) + 1
	byText := 0
	for i := 1; i < len(numbers); i++ {
		if numbers[i] == numbers[i-1]+1 {
			byText--
		}
		if numbers[i] == nextKey(numbers[i-1], n) {
			byText++
		}
	}
	if byText <= 0 || n > max32 {
		return 0
	}
	return uint64(n)
}

// hasPadding reports whether an extra field ends with FB, a length, and so many Z.
func hasPadding(extra []byte) bool {
	n := len(extra)
	for n > 0 && extra[n-1] == 'Z' {
		n--
	}
	return n >= 4 && string(extra[n-4:n-2]) == "FB" && int(le.Uint16(extra[n-2:])) == len(extra)-n
}

func gcd(a, b int64) int64 {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}
