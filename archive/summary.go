package archive

import (
	"encoding/binary"
	"fmt"
	"math"
)

// Role says what decoding needs a dependency for.
type Role uint8

// Roles of a dependency.
const (
	RoleBase        Role = iota + 1 // weights are a residual against this content
	RoleWeights                     // the weights whose residual masks the moments
	RoleWeightsBase                 // what those weights are a residual of
	maxRole
)

// Dep is a content that must be at hand to decode an archive. Hint is the
// store-relative path at which the content was when the archive was made; it
// may be stale and is only tried first.
type Dep struct {
	Role Role
	ID   ID
	Hint string
}

// Summary is what a listing needs; it is read with the last 4 KiB.
type Summary struct {
	ID      ID
	Size    int64 // of the decoded file in bytes
	Schema  ID    // tensor.Layout.Schema
	Depth   uint8 // 0: needs no other archive
	Profile Profile
	Deps    []Dep
	// Relative RMS error of the file's tensors by tensor.Role (weight,
	// exp_avg, exp_avg_sq); 0 where exact. NaN where the role is absent.
	// Stored as float32.
	Error [3]float64
}

// Profile is the encoding a file was made with.
type Profile struct {
	Name  string  // "excp" or "exact"
	Alpha float64 // excp only
	Beta  float64
	Bits  uint8
}

func appendSummary(b []byte, s *Summary) []byte {
	b = append(b, s.ID[:]...)
	b = append(b, s.Schema[:]...)
	b = binary.AppendUvarint(b, uint64(s.Size))
	b = append(b, s.Depth)
	b = appendString(b, s.Profile.Name)
	b = le.AppendUint64(b, math.Float64bits(s.Profile.Alpha))
	b = le.AppendUint64(b, math.Float64bits(s.Profile.Beta))
	b = append(b, s.Profile.Bits)
	for _, e := range s.Error {
		b = appendFloat(b, e)
	}
	b = binary.AppendUvarint(b, uint64(len(s.Deps)))
	for _, d := range s.Deps {
		b = append(b, byte(d.Role))
		b = append(b, d.ID[:]...)
		b = appendString(b, d.Hint)
	}
	return b
}

func parseSummary(b []byte) (s Summary, err error) {
	c := cursor{p: b}
	s.ID, s.Schema = c.id(), c.id()
	s.Size = int64(c.number("size", math.MaxInt64))
	s.Depth = c.u8()
	s.Profile.Name = string(c.str())
	s.Profile.Alpha = math.Float64frombits(c.u64())
	s.Profile.Beta = math.Float64frombits(c.u64())
	s.Profile.Bits = c.u8()
	for i := range s.Error {
		s.Error[i] = c.float()
	}
	const depMin = 18 // stored bytes of the smallest
	if n := c.number("number of dependencies", uint64(len(c.p)/depMin)); n > 0 {
		s.Deps = make([]Dep, n)
	}
	for i := range s.Deps {
		if err := parseDep(&c, &s.Deps[i]); err != nil {
			return s, err
		}
	}
	return s, c.end()
}

func parseDep(c *cursor, d *Dep) error {
	d.Role = Role(c.u8())
	d.ID = c.id()
	hint := c.str()
	if len(hint) > hintMax {
		c.fail(fmt.Errorf("dependency hint of %d bytes", len(hint)))
	}
	d.Hint = string(hint)
	if c.err == nil && (d.Role == 0 || d.Role >= maxRole) {
		return &UnsupportedError{What: fmt.Sprintf("dependency role %d", d.Role)}
	}
	return c.err
}
