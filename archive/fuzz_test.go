package archive

import (
	"bytes"
	"testing"
)

func seeds(f *testing.F) [][]byte {
	p, _ := optimizerIndex(f, 4)
	return [][]byte{newSample().bytes, p, written2(f, torchIndex(3, 5, 64, true))}
}

// Whatever the bytes, reading an archive ends in bytes or in a typed error.
func FuzzOpen(f *testing.F) {
	for _, p := range seeds(f) {
		f.Add(p)
	}
	f.Fuzz(func(t *testing.T, p []byte) {
		if err := readAll(p); err != nil && !typed(err) {
			t.Fatalf("%T: %v", err, err)
		}
		if _, _, err := ReadSummary(bytes.NewReader(p), int64(len(p)), "x"); err != nil && !typed(err) {
			t.Fatalf("%T: %v", err, err)
		}
	})
}

// An index behind checksums that match: no panic, and one that parses is the only spelling of its contents.
func FuzzIndex(f *testing.F) {
	for _, p := range seeds(f) {
		r := open(f, p)
		unpacked, raw := encodeIndex(r.version, r.index, r.inline)
		f.Add(unpacked, raw, appendSummary(nil, &r.index.Summary), uint32(r.end-headerSize), r.version == 2)
	}
	f.Fuzz(func(t *testing.T, unpacked, raw, summary []byte, blocks uint32, second bool) {
		version := uint16(1)
		if second {
			version = 2
		}
		sum, err := parseSummary(summary)
		if err != nil {
			return
		}
		if s := appendSummary(nil, &sum); !bytes.Equal(s, summary) {
			t.Fatalf("another summary:\n%x\n%x", summary, s)
		}
		ix, inline, err := decodeIndex(version, sum, unpacked, raw, uint64(len(unpacked)))
		if err != nil || ix.check(headerSize+int64(blocks)) != nil {
			return
		}
		u, w := encodeIndex(version, ix, inline)
		if second { // any spelling of the verbatim bytes is taken
			again, _, err := decodeIndex(version, sum, u, w, uint64(len(u)))
			if err != nil || !bytes.Equal(again.Verbatim, ix.Verbatim) {
				t.Fatalf("%v\n%q\n%q", err, ix.Verbatim, again.Verbatim)
			}
			return
		}
		if !bytes.Equal(u, unpacked) || !bytes.Equal(w, raw) {
			t.Fatalf("another spelling:\n%x\n%x\n%x\n%x", unpacked, u, raw, w)
		}
	})
}
