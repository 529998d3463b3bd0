package archive

import (
	"bytes"
	"testing"

	"excpfs/tensor"
)

// gapsOf puts tensors of length 1, 2 .. between verbatim bytes, after as many of
// these as each byte of places says.
func gapsOf(places []byte, verbatim int64) *gaps {
	var ts []Tensor
	at, left := int64(0), verbatim
	for i, n := range places {
		if int64(n) > left {
			break
		}
		at, left = at+int64(n), left-int64(n)
		t := tensor.Info{DType: tensor.U8, Shape: []int64{int64(i)}, Offset: at, Length: int64(i)}
		ts = append(ts, Tensor{Info: t})
		at += t.Length
	}
	return newGaps(ts, at+left)
}

// placesOf is the inverse of gapsOf, nearly: no byte says more than 255.
func placesOf(ix *Index) (places []byte) {
	at := int64(0)
	for _, i := range newGaps(ix.Tensors, ix.Size).at {
		places = append(places, byte(min(i-at, 255)))
		at = i
	}
	return places
}

func addStructured(f *testing.F, add func(ix *Index)) {
	for _, path := range fixtures(f) {
		if ix := fixture(f, path); ix != nil {
			add(ix)
		}
	}
	add(torchIndex(12, 1<<24, 64, true))
	add(legacyIndex(3))
}

// Whatever the bytes, they come back.
func FuzzStructured(f *testing.F) {
	addStructured(f, func(ix *Index) { f.Add(ix.Verbatim, placesOf(ix)) })
	f.Add([]byte("PK\x03\x04PK\x07\x08PK\x05\x06\x80.\x80\x02."), []byte{4, 4, 4})
	f.Fuzz(func(t *testing.T, v, places []byte) {
		g := gapsOf(places, int64(len(v)))
		column, sums := packStructured(v, g)
		if column == nil || g.size > structuredLimit(int64(len(column))) {
			return
		}
		got, rest, err := unpackStructured(column, sums, g)
		if err != nil || len(rest) > 0 || !bytes.Equal(got, v) {
			t.Fatalf("%v\n%q\n%q", err, v, got)
		}
	})
}

// Whatever the column, it is refused, or gives bytes of which there is a column that gives them too.
func FuzzUnstructured(f *testing.F) {
	addStructured(f, func(ix *Index) {
		column, sums := packStructured(ix.Verbatim, newGaps(ix.Tensors, ix.Size))
		f.Add(column, sums, placesOf(ix), uint32(len(ix.Verbatim)))
	})
	f.Fuzz(func(t *testing.T, column, sums, places []byte, size uint32) {
		g := gapsOf(places, int64(size))
		v, rest, err := unpackStructured(column, sums, g)
		if err != nil {
			return
		}
		if int64(len(v)) != g.size || len(rest) > len(sums) {
			t.Fatalf("%d bytes of %d, %d checksums of %d", len(v), g.size, len(rest), len(sums))
		}
		if c, s := packStructured(v, g); c != nil && g.size <= structuredLimit(int64(len(c))) {
			if w, _, err := unpackStructured(c, s, g); err != nil || !bytes.Equal(v, w) {
				t.Fatalf("%v\n%q\n%q", err, v, w)
			}
		}
	})
}

// A pickle is its tokens, and comes back from its streams.
func FuzzPickle(f *testing.F) {
	f.Add(torchPickle(3, 300))
	f.Add([]byte("\x80\x04\x95\x05\x00\x00\x00\x00\x00\x00\x00]\x94(K\x01e."))
	f.Add([]byte("\x80\x02M\x01\x00J\x01\x00\x00\x00r\x00\x00\x00\x00h\x00j\x00\x00\x00\x00X\x01\x00\x00\x000I12\nL9L\ncos\nsystem\nK\xff."))
	f.Fuzz(func(t *testing.T, p []byte) {
		n := 0
		for n < len(p) {
			tok, length := nextToken(p[n:])
			if length == 0 {
				break
			}
			if b := tok.append(nil); !bytes.Equal(b, p[n:n+length]) {
				t.Fatalf("%q became %q", p[n:n+length], b)
			}
			n += length
		}
		keys := map[string]*Tensor{"0": {Info: tensor.Info{Shape: []int64{300, 8}}}}
		w := &streams{packing: true}
		w.pickle(p[:n], keys)
		column, _ := w.join()
		r, err := splitStreams(column, nil)
		must(err)
		got := make([]byte, n)
		r.pickle(got, keys)
		if err := r.end(); err != nil || !bytes.Equal(got, p[:n]) {
			t.Fatalf("%v\n%q\n%q", err, p[:n], got)
		}
	})
}
