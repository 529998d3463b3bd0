package torchfile

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"testing"
)

// tensorPickle is the pickle of {name: float tensor of numel elements in storage 0}.
func tensorPickle(name string, numel int64) []byte {
	text := func(s string) string { return "X" + string(binary.LittleEndian.AppendUint32(nil, uint32(len(s)))) + s }
	n := "I" + strconv.FormatInt(numel, 10) + "\n"
	return []byte("\x80\x02}" + text(name) + "ctorch._utils\n_rebuild_tensor_v2\n((" + text("storage") +
		"ctorch\nFloatStorage\n" + text("0") + text("cpu") + n + "tQK\x00" + n + "\x85K\x01\x85\x89ccollections\nOrderedDict\n)RtRs.")
}

// manyFile is a torch zip of n tensors of 16 elements with names as long as those of models.
func manyFile(t testing.TB, n int) []byte {
	t.Helper()
	pickle := []byte("\x80\x02}(")
	storages := make([][]byte, n)
	for i := range n {
		one := tensorPickle(fmt.Sprintf("optimizer_state.layers.%05d.attention.query_key_value.exp_avg", i), 16)
		one = bytes.Replace(one, []byte("X\x01\x00\x00\x000"), fmt.Appendf(nil, "X\x05\x00\x00\x00%05d", i), 1)
		pickle = append(pickle, one[3:len(one)-2]...) // without PROTO, dict, SETITEM and STOP
		storages[i] = make([]byte, 64)
	}
	return zipOf(t, append(pickle, "u."...), storages...)
}

// bigFile is a torch zip of one storage that is a hole, in the framing PyTorch
// gives files beyond 4 GiB.
func bigFile(t testing.TB, payload int64) *os.File {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "big.pt"))
	if err != nil {
		t.Fatal(err)
	}
	le := binary.LittleEndian
	var central []byte
	at, entries := int64(0), uint64(0)
	write := func(b []byte) {
		if _, err := f.WriteAt(b, at); err != nil {
			t.Fatal(err)
		}
		at += int64(len(b))
	}
	record := func(name string, data []byte, hole int64) {
		header, n := at, int64(len(data))+hole
		var pad []byte // zip64 fields and FB, up to the next 64 bytes
		if n >= max32 {
			pad = le.AppendUint64(le.AppendUint64(pad, uint64(n)), uint64(n))
		}
		if header >= max32 {
			pad = le.AppendUint64(pad, uint64(header))
		}
		if pad != nil {
			pad = append(le.AppendUint16([]byte{1, 0}, uint16(len(pad))), pad...)
		}
		fill := -(at + localLen + int64(len(name)+len(pad)) + 4) & 63
		pad = append(le.AppendUint16(append(pad, 'F', 'B'), uint16(fill)), bytes.Repeat([]byte("Z"), int(fill))...)
		h := append([]byte(localSig), make([]byte, localLen-4)...)
		le.PutUint16(h[6:], 0x808)
		le.PutUint16(h[26:], uint16(len(name)))
		le.PutUint16(h[28:], uint16(len(pad)))
		write(append(append(h, name...), pad...))
		write(data)
		at += hole
		d := append([]byte(descriptorSig), 1, 2, 3, 4)
		wide := n >= max32 || header >= max32
		if wide {
			d = le.AppendUint64(le.AppendUint64(d, uint64(n)), uint64(n))
		} else {
			d = le.AppendUint32(le.AppendUint32(d, uint32(n)), uint32(n))
		}
		write(d)
		var extra []byte
		short := func(v int64) uint32 {
			if v < max32 {
				return uint32(v)
			}
			extra = le.AppendUint64(extra, uint64(v))
			return max32
		}
		c := append([]byte(centralSig), make([]byte, centralLen-4)...)
		le.PutUint16(c[8:], 0x808)
		copy(c[16:], []byte{1, 2, 3, 4})
		le.PutUint32(c[24:], short(n))
		le.PutUint32(c[20:], short(n))
		le.PutUint32(c[42:], short(header))
		le.PutUint16(c[28:], uint16(len(name)))
		if extra != nil {
			extra = append(le.AppendUint16([]byte{1, 0}, uint16(len(extra))), extra...)
			le.PutUint16(c[30:], uint16(len(extra)))
		}
		central = append(append(append(central, c...), name...), extra...)
		entries++
	}
	record("big/data.pkl", tensorPickle("big", payload/4), 0)
	record("big/data/0", nil, payload)
	record("big/version", []byte("3\n"), 0)
	dir := at
	write(central)
	end64 := at
	e := le.AppendUint64([]byte(end64Sig), end64Len-12)
	e = append(e, make([]byte, 12)...)
	for _, v := range []uint64{entries, entries, uint64(len(central)), uint64(dir)} {
		e = le.AppendUint64(e, v)
	}
	e = le.AppendUint64(append(e, locatorSig+"\x00\x00\x00\x00"...), uint64(end64))
	e = append(le.AppendUint32(e, 1), endSig+"\x00\x00\x00\x00"...)
	e = le.AppendUint16(le.AppendUint16(e, uint16(entries)), uint16(entries))
	e = le.AppendUint32(le.AppendUint32(e, uint32(len(central))), uint32(min(dir, max32)))
	write(append(e, 0, 0))
	return f
}
