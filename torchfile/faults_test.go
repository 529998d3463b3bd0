package torchfile

import (
	"bytes"
	"encoding/binary"
	"strings"
	"testing"
)

// replace changes the only place, or the last of several, where old stands.
func replace(t *testing.T, b []byte, old, new string) []byte {
	t.Helper()
	i := bytes.LastIndex(b, []byte(old))
	if i < 0 {
		t.Fatalf("no %q", old)
	}
	return append(append(append([]byte(nil), b[:i]...), new...), b[i+len(old):]...)
}

// set changes bytes from a place on; a negative one counts from the end.
func set(b []byte, at int, bytes ...byte) []byte {
	b = append([]byte(nil), b...)
	if at < 0 {
		at += len(b)
	}
	copy(b[at:], bytes)
	return b
}

// One fault each in a file that is otherwise as PyTorch writes it.
func TestMalformedZip(t *testing.T) {
	good := fixture(t, "shared.pt")
	dir := bytes.Index(good, []byte(centralSig))
	second := dir + 4 + bytes.Index(good[dir+4:], []byte(centralSig)) // the entry of data/0
	header := int(binary.LittleEndian.Uint32(good[second+42:]))
	l, err := parse(good)
	if err != nil {
		t.Fatal(err)
	}
	first := l.Tensors[0]
	after := int(first.Offset + first.Length) // its descriptor
	old := fixture(t, "no_descriptor.pt")
	for _, c := range []struct {
		name   string
		file   []byte
		reason string
	}{
		{"nothing", nil, "no end of a zip before byte 0"},
		{"one byte", []byte("P"), "no end of a zip"},
		{"a local header alone", []byte("PK\x03\x04" + strings.Repeat("\x00", 26)), "no end of a zip"},
		{"an end alone", append([]byte(endSig), make([]byte, 18)...), `no "PK\x03\x04" at byte 0`},
		{"end without signature", set(good, -22, 'Q'), "no end of a zip"},
		{"byte after the end", append(good[:len(good):len(good)], 0), "no end of a zip"},
		{"comment", set(good, -2, 1), "with a comment"},
		{"volume", set(good, -18, 1), "several volumes"},
		{"entries of the end", set(good, -14, 6), "several volumes"},
		{"entries of both ends", set(good, -12, 9), "do not agree"},
		{"directory's length", set(good, -10, 1), "do not agree"},
		{"directory's offset", set(good, -6, 1), "do not agree"},
		{"locator's offset", set(good, -42+8, 0), "locator points to"},
		{"locator's volume", set(good, -42+4, 1), "several volumes"},
		{"zip64 end without signature", set(good, -98, 'Q'), "no zip64 end"},
		{"zip64 end's length", set(good, -98+4, 45), "no zip64 end"},
		{"zip64 directory beyond the file", set(set(good, -10, 255, 255, 255, 255), -98+40, 255, 255, 255, 255, 255, 255, 255, 127), "directory of 9223372036854775807 bytes"},
		{"zip64 offset of all ones", set(set(good, -6, 255, 255, 255, 255), -98+48, 255, 255, 255, 255, 255, 255, 255, 255), "after 18446744073709551615 bytes"},
		{"many entries", set(set(set(good, -14, 255, 255, 255, 255), -98+24, 255, 255, 255, 255), -98+32, 255, 255, 255, 255), "4294967295 entries in"},
		{"one entry less", set(set(good, -14, 6, 0, 6, 0), -98+24, 6, 0, 0, 0, 0, 0, 0, 0, 6), "zip of 6 records lists 7"},
		{"directory elsewhere", set(good, dir, 'Q'), `no "PK\x01\x02" at byte`},
		{"entry without signature", set(good, second, 'Q'), "no entry of a directory"},
		{"entry's name too long", set(good, second+28, 255, 255), "bytes at byte"},
		{"entry's size", set(good, second+20, 255, 255, 255, 127), "lie outside of the zip"},
		{"entry's offset", set(good, second+42, 255, 255, 255, 127), "lie outside of the zip"},
		{"entry's two sizes", set(good, second+24, 97), "bytes are stored as"},
		{"no zip64 field", set(good, second+20, 255, 255, 255, 255), "no zip64 field"},
		{"entry's offset one off", set(good, second+42, good[second+42]+1), "no header at byte"},
		{"same header twice", set(good, second+42, 0, 0, 0, 0), "overlaps what follows"},
		{"entry's name", set(good, second+centralLen, 'X'), "another name at byte"},
		{"name twice", func() []byte {
			b := replace(t, good, "shared/data/1", "shared/data/0")
			i := bytes.Index(b, []byte("shared/data/1"))
			return set(b, i, []byte("shared/data/0")...)
		}(), `record "shared/data/0" twice`},
		{"header without signature", set(good, header, 'Q'), "no header at byte"},
		{"header's flags", set(good, header+6, 0), "another method"},
		{"header's method", set(good, header+8, 8), "another method"},
		{"header's size", set(old, bytes.Index(old, []byte("stem/data/0"))-localLen+18, 9), "another size"},
		{"header's name", set(good, header+localLen, 'X'), "another name"},
		{"header's extra too long", set(good, header+28, 0, 16), "overlap what follows"},
		{"descriptor's size", set(good, after+8, 1), "no descriptor of 96 bytes"},
		{"descriptor's second size", set(good, after+12, 1), "no descriptor of 96 bytes"},
		{"descriptor's signature", set(good, after, 'Q'), "no descriptor of 96 bytes"},
		{"no pickle", replace(t, replace(t, good, "data.pkl", "data.pkx"), "data.pkl", "data.pkx"), "no data.pkl"},
		{"compressed pickle", set(set(good, dir+10, 8), 8, 8), "compressed or encrypted"},
		{"encrypted pickle", set(set(good, dir+8, 9), 6, 9), "compressed or encrypted"},
		{"pickle's opcode", set(good, 64, 0xff), "opcode 0xff at byte 64"},
		{"bytes after the pickle", set(good, 64+3, '.'), "bytes after the pickle"},
		{"pickle without an end", replace(t, good, "u.PK\x07\x08", "uNPK\x07\x08"), "bytes at byte"},
		{"not of PyTorch", []byte("PK\x03\x04" + string(make([]byte, 99))), "no end of a zip"},
	} {
		l, err := parse(c.file)
		if !isMalformed(err) || !strings.Contains(err.Error(), c.reason) {
			t.Errorf("%s: %v, %v; want %q", c.name, l, err, c.reason)
		}
	}
}

// What a storage may be without making the file another's.
func TestVerbatim(t *testing.T) {
	data := make([]byte, 16)
	for _, c := range []struct {
		name, pickle string
		want         string // of the only storage; "" verbatim
	}{
		{"float", string(tensorPickle("a", 4)), "a F32 [4]"},
		{"too short", string(tensorPickle("a", 3)), ""},
		{"too long", string(tensorPickle("a", 5)), ""},
		{"no name", string(tensorPickle("", 4)), "data/0 F32 [4]"},
		{"long name", string(tensorPickle(strings.Repeat("x", maxName+1), 4)), "data/0 F32 [4]"},
		{"name in bytes that are no text", string(tensorPickle("a\xff", 4)), "? F32 [4]"},
		{"storage alone", "(U\x07storagectorch\nHalfStorage\nU\x010U\x03cpuK\x08tQ.", "data/0 F16 [8]"},
		{"of CUDA", "(U\x07storagectorch.cuda\nHalfStorage\nU\x010U\x06cuda:0K\x08tQ.", "data/0 F16 [8]"},
		{"in a list", "]((U\x07storagectorch\nHalfStorage\nU\x010U\x03cpuK\x08tQNe.", "0 F16 [8]"},
		{"unknown class", "(U\x07storagectorch\nFutureStorage\nU\x010U\x03cpuK\x08tQ.", ""},
		{"class of another module", "(U\x07storagecevil\nFloatStorage\nU\x010U\x03cpuK\x04tQ.", ""},
		{"another key", "(U\x07storagectorch\nHalfStorage\nU\x011U\x03cpuK\x08tQ.", ""},
		{"key is a number", "(U\x07storagectorch\nHalfStorage\nK\x00U\x03cpuK\x08tQ.", ""},
		{"another persistent id", "(U\x06modulectorch\nHalfStorage\nU\x010U\x03cpuK\x08tQ.", ""},
		{"negative count", "(U\x07storagectorch\nHalfStorage\nU\x010U\x03cpuJ\xff\xff\xff\xfftQ.", ""},
		{"described twice", "](" + "(U\x07storagectorch\nHalfStorage\nU\x010U\x03cpuK\x08tQ" + "(U\x07storagectorch\nShortStorage\nU\x010U\x03cpuK\x08tQ" + "e.", ""},
		{"dropped", "(U\x07storagectorch\nHalfStorage\nU\x010U\x03cpuK\x08tQ0N.", "data/0 F16 [8]"},
		{"complex double", "(U\x07storagectorch\nComplexDoubleStorage\nU\x010U\x03cpuK\x01tQ.", ""},
		{"opaque call", "cmy\nclass\n(U\x07storagectorch\nHalfStorage\nU\x010U\x03cpuK\x08tQ\x85R.", "data/0 F16 [8]"},
		{"sparse", "ctorch._utils\n_rebuild_sparse_tensor\n(U\x07storagectorch\nHalfStorage\nU\x010U\x03cpuK\x08tQ\x85R.", ""},
		{"sparse, and outside first", "](" + "(U\x07storagectorch\nHalfStorage\nU\x010U\x03cpuK\x08tQ\x85q\x00" +
			"ctorch._utils\n_rebuild_sparse_tensor\nh\x00R" + "e.", ""},
		{"attribute", "cmy\nclass\n)R}U\x01w(U\x07storagectorch\nHalfStorage\nU\x010U\x03cpuK\x08tQsb.", "w F16 [8]"},
		{"attribute of a dict", "ccollections\nOrderedDict\n)R}U\x01w(U\x07storagectorch\nHalfStorage\nU\x010U\x03cpuK\x08tQsb.", "w F16 [8]"},
		{"untyped float", v3Pickle("float32", 16, 4, 0), "data/0 F32 [4]"},
		{"untyped, one row", v3Pickle("float32", 16, 2, 0), "data/0 F32 [4]"},
		{"untyped, unknown dtype", v3Pickle("bits8", 16, 16, 0), "data/0 U8 [16]"},
		{"untyped, at an offset", v3Pickle("float64", 16, 1, 1), "data/0 F64 [2]"},
		{"subclass", "ctorch._tensor\n_rebuild_from_type_v2\n(ctorch._utils\n_rebuild_tensor_v3\ncmy\nTensor\n" +
			v3Args("float32", 16, 4, 0) + "}tR.", "data/0 F32 [4]"},
		{"negative stride", strings.Replace(string(tensorPickle("a", 4)), "K\x01\x85", "J\xff\xff\xff\xff\x85", 1), "a F32 [4]"},
		{"stride", strings.Replace(string(tensorPickle("a", 4)), "K\x01\x85", "K\x02\x85", 1), "a F32 [4]"},
	} {
		l, err := parse(zipOf(t, []byte(c.pickle), data))
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		got := ""
		if len(l.Tensors) > 0 {
			got, _, _ = strings.Cut(strings.SplitAfter(dump(l), "\n")[1], " at ")
		}
		if got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

func v3Args(dtype string, nbytes, numel, offset byte) string {
	return "((U\x07storagectorch.storage\nUntypedStorage\nU\x010U\x03cpuK" + string(rune(nbytes)) + "tQK" + string(rune(offset)) +
		"K" + string(rune(numel)) + "\x85K\x01\x85\x89}ctorch\n" + dtype + "\nt"
}

func v3Pickle(dtype string, nbytes, numel, offset byte) string {
	return "ctorch._utils\n_rebuild_tensor_v3\n" + v3Args(dtype, nbytes, numel, offset) + "R."
}

func TestMalformedLegacy(t *testing.T) {
	good := fixture(t, "legacy_shared.pt")
	l, err := parse(good)
	if err != nil {
		t.Fatal(err)
	}
	first := l.Tensors[0]
	keyAt := bytes.LastIndex(good[:first.Offset-8], []byte("X"))
	for _, c := range []struct {
		name   string
		file   []byte
		reason string
	}{
		{"magic number alone", []byte("\x80\x02" + legacyMagic), "0 are left"},
		{"protocol", replace(t, good, "\x80\x02M\xe9\x03.", "\x80\x02M\xea\x03."), "another protocol or byte order"},
		{"big-endian", replace(t, good, "little_endianq\x02\x88", "little_endianq\x02\x89"), "another protocol or byte order"},
		{"no byte order", replace(t, good, "little_endian", "little_indian"), "another protocol or byte order"},
		{"key", set(good, keyAt+6, 'x'), "has no storage"},
		{"count", set(good, int(first.Offset)-8, 7), "elements, not"},
		{"count of all ones", set(good, int(first.Offset)-8, 255, 255, 255, 255, 255, 255, 255, 255), "18446744073709551615 elements, not"},
		{"cut in the last storage", good[:len(good)-1], "is cut at"},
		{"cut in the last count", good[:l.Tensors[4].Offset-1], "cut before storage"},
		{"a byte more", append(good[:len(good):len(good)], 0), "1 bytes after the last storage"},
		{"unknown class", replace(t, good, "ctorch\nFloatStorage", "ctorch\nFloatStorags"), "unknown class"},
	} {
		l, err := parse(c.file)
		if !isMalformed(err) || !strings.Contains(err.Error(), c.reason) {
			t.Errorf("%s: %v, %v; want %q", c.name, l, err, c.reason)
		}
	}
}

func TestMalformedDistcp(t *testing.T) {
	good := fixture(t, "zips.distcp")
	other := fixture(t, "raw_first.distcp")
	other = other[:len(other)-len(good)] // raw bytes and a zip that is not of PyTorch
	for _, c := range []struct {
		name   string
		file   []byte
		reason string
	}{
		{"no torch zip", other, "no torch zip among 1 zips"},
		{"garbage at the end", append(good[:len(good):len(good)], "garbage"...), "no end of a zip"},
		{"false ends", append(append(good[:len(good):len(good)], strings.Repeat(endSig, maxFalse+9)...), good...), "false ones"},
	} {
		l, err := parse(c.file)
		if !isMalformed(err) || !strings.Contains(err.Error(), c.reason) {
			t.Errorf("%s: %v, %v; want %q", c.name, l, err, c.reason)
		}
	}
	// A damaged item is verbatim, the others are not touched by it.
	l, err := parse(replace(t, good, "archive/data.pkl", "archive/data.pkx"))
	if err != nil || len(l.Tensors) != 4 || l.Tensors[3].Name != "3" {
		t.Errorf("damaged item: %v, %v", l, err)
	}
}

// A pickle may have only so many bytes, whatever is in them.
func TestLargePickle(t *testing.T) {
	f := []record{{name: "a/data.pkl", len: maxPickle + 1}}
	if _, err := findFolder(f, map[string]*record{f[0].name: &f[0]}); !isMalformed(err) {
		t.Error(err)
	}
}
