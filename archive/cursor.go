package archive

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/bits"
)

// cursor reads fields from the front of p. The first fault sticks; after it
// every read gives zero.
type cursor struct {
	p   []byte
	err error
}

var errShort = errors.New("ends too early")

func (c *cursor) fail(err error) {
	if c.err == nil {
		c.err = err
	}
	c.p = nil
}

// take returns the next n bytes, not copied.
func (c *cursor) take(n uint64) []byte {
	if n > uint64(len(c.p)) {
		c.fail(errShort)
		return nil
	}
	b := c.p[:n:n]
	c.p = c.p[n:]
	return b
}

func (c *cursor) u8() uint8 {
	if b := c.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (c *cursor) u32() uint32 {
	if b := c.take(4); b != nil {
		return le.Uint32(b)
	}
	return 0
}

func (c *cursor) u64() uint64 {
	if b := c.take(8); b != nil {
		return le.Uint64(b)
	}
	return 0
}

func (c *cursor) id() (id [16]byte) {
	copy(id[:], c.take(16))
	return id
}

// float reads a float32. Of the NaNs only one is allowed.
func (c *cursor) float() float64 {
	u := c.u32()
	f := math.Float32frombits(u)
	if f != f && u != nan32 {
		c.fail(fmt.Errorf("NaN with the bits %08X", u))
	}
	return float64(f)
}

const nan32 = 0x7fc00000

func appendFloat(b []byte, f float64) []byte {
	if math.IsNaN(f) {
		return le.AppendUint32(b, nan32)
	}
	return le.AppendUint32(b, math.Float32bits(float32(f)))
}

func (c *cursor) uvarint() uint64 {
	v, n := binary.Uvarint(c.p)
	switch {
	case n == 0:
		c.fail(errShort)
		return 0
	case n < 0 || n != uvarintLen(v):
		c.fail(errors.New("uvarint is too long"))
		return 0
	}
	c.p = c.p[n:]
	return v
}

func uvarintLen(v uint64) int { return max(1, (bits.Len64(v)+6)/7) }

// number reads a uvarint of at most limit.
func (c *cursor) number(what string, limit uint64) uint64 {
	v := c.uvarint()
	if v > limit {
		c.fail(fmt.Errorf("%s %d is beyond %d", what, v, limit))
		return 0
	}
	return v
}

func (c *cursor) varint() int64 {
	u := c.uvarint()
	return int64(u>>1) ^ -int64(u&1)
}

// str reads a string, not copied.
func (c *cursor) str() []byte { return c.take(c.uvarint()) }

func appendString[T ~string | ~[]byte](b []byte, s T) []byte {
	b = binary.AppendUvarint(b, uint64(len(s)))
	return append(b, s...)
}

// end fails unless everything was read.
func (c *cursor) end() error {
	if c.err == nil && len(c.p) > 0 {
		c.fail(fmt.Errorf("%d bytes too long", len(c.p)))
	}
	return c.err
}
