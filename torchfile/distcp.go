package torchfile

import (
	"bytes"
	"io"
	"slices"
	"strconv"
)

const (
	scanFirst  = 1 << 8 // bytes looked at first: items mostly touch
	scanWindow = 1 << 20
	maxItems   = 1 << 20 // zips in one file
	maxFalse   = 1 << 10 // bytes that look like the end of a zip, but are not
)

// openDistcp takes a concatenation apart from its end, which must be that of a
// zip: each zip says where it starts, and the next one is looked for before
// that. So no payload is read, and a zip inside of another's payload is not
// taken for one of the file's.
func openDistcp(r io.ReaderAt, last zipEnd) (*file, error) {
	zips, err := findZips(r, last)
	if err != nil {
		return nil, err
	}
	f := &file{format: FormatDistcp, taken: map[string]bool{}}
	for i, z := range zips {
		// Items that are not torch zips, or not whole, are verbatim.
		if err := f.addZip(r, z, strconv.Itoa(i)); err != nil && !isMalformed(err) {
			return nil, err
		}
	}
	if len(f.roots) == 0 {
		return nil, malformed("no torch zip among %d zips", len(zips))
	}
	return f, nil
}

// findZips lists the zips of a file in order.
func findZips(r io.ReaderAt, last zipEnd) ([]zipEnd, error) {
	zips := []zipEnd{last}
	wrong := 0
	for at := last.start; at > 0; {
		end, err := findSignature(r, at)
		if err != nil {
			return nil, err
		}
		if end == 0 {
			break
		}
		z, err := findEnd(r, end)
		switch {
		case err == nil:
			zips, at = append(zips, z), z.start
		case isMalformed(err):
			wrong++
			at = end - 1
		default:
			return nil, err
		}
		if len(zips) > maxItems || wrong > maxFalse {
			return nil, malformed("more than %d zips or %d false ones", maxItems, maxFalse)
		}
	}
	slices.Reverse(zips)
	return zips, nil
}

// findSignature looks backward for the end of a zip that lies before limit. It
// returns where that end ends, or 0.
func findSignature(r io.ReaderAt, limit int64) (int64, error) {
	window := int64(scanFirst)
	var buf []byte
	for hi := limit; hi >= endLen; {
		lo := max(0, hi-window)
		if int64(cap(buf)) < hi-lo {
			buf = make([]byte, hi-lo)
		}
		b := buf[:hi-lo]
		if err := readAt(r, b, lo); err != nil {
			return 0, err
		}
		if i := bytes.LastIndex(b[:len(b)-(endLen-len(endSig))], []byte(endSig)); i >= 0 {
			return lo + int64(i) + endLen, nil
		}
		if lo == 0 {
			break
		}
		hi = lo + endLen - 1
		window = min(2*window, scanWindow)
	}
	return 0, nil
}
