package safetensors

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"

	"excpfs/tensor"
)

// Entry is a pair of a file's metadata.
type Entry struct{ Key, Value string }

// Metadata reads the pairs of a file in their order. The error is as that of Parse.
func Metadata(r io.ReaderAt, size int64) ([]Entry, error) {
	if _, err := Parse(r, size); err != nil {
		return nil, err
	}
	var n [prefix]byte
	if err := read(r, n[:], 0); err != nil {
		return nil, err
	}
	text := make([]byte, binary.LittleEndian.Uint64(n[:]))
	if err := read(r, text, prefix); err != nil {
		return nil, err
	}
	p := parser{json.NewDecoder(bytes.NewReader(text))}
	p.d.UseNumber()
	var list []Entry
	err := p.object("header", func(name string) error {
		if name != metadata {
			_, err := p.tensor(name)
			return err
		}
		return p.object(metadata, func(key string) error {
			value, err := p.str(metadata)
			list = append(list, Entry{key, value})
			return err
		})
	})
	return list, err
}

// saved is the order in which the format's library writes tensors: wide elements first.
var saved = []tensor.DType{
	tensor.U64, tensor.I64, tensor.F64, tensor.C64, tensor.F32, tensor.U32, tensor.I32, tensor.BF16, tensor.F16, tensor.U16, tensor.I16,
	tensor.F8E5M2FNUZ, tensor.F8E4M3FNUZ, tensor.F8E8M0, tensor.F8E4M3, tensor.F8E5M2, tensor.I8, tensor.U8,
	tensor.F6E3M2, tensor.F6E2M3, tensor.F4, tensor.Bool,
}

// Arrange puts tensors in the order in which the format's library saves them.
func Arrange(tensors []tensor.Info) {
	slices.SortFunc(tensors, func(a, b tensor.Info) int {
		return cmp.Or(cmp.Compare(slices.Index(saved, a.DType), slices.Index(saved, b.DType)), strings.Compare(a.Name, b.Name))
	})
}

// AppendHeader appends the header, as the format's library writes it, of a file that
// holds the tensors back to back in this order.
func AppendHeader(dst []byte, meta []Entry, tensors []tensor.Info) ([]byte, error) {
	at := len(dst)
	dst = append(append(dst, make([]byte, prefix)...), '{')
	if len(meta) > 0 {
		dst = append(appendString(dst, metadata), ':', '{')
		for i, e := range meta {
			dst = appendString(append(appendString(comma(dst, i), e.Key), ':'), e.Value)
		}
		dst = append(dst, '}')
	}
	begin := int64(0)
	for i, t := range tensors {
		shape, err := json.Marshal(append([]int64{}, t.Shape...))
		if err != nil {
			return nil, err
		}
		dst = appendString(comma(dst, i+len(meta)), t.Name)
		dst = fmt.Appendf(dst, `:{"dtype":"%s","shape":%s,"data_offsets":[%d,%d]}`, t.DType, shape, begin, begin+t.Length)
		begin += t.Length
	}
	dst = append(dst, '}')
	for (len(dst)-at)%prefix != 0 {
		dst = append(dst, ' ')
	}
	n := len(dst) - at - prefix
	if n > MaxHeader {
		return nil, malformed("header of %d bytes", n)
	}
	binary.LittleEndian.PutUint64(dst[at:], uint64(n))
	return dst, nil
}

func comma(dst []byte, i int) []byte {
	if i > 0 {
		return append(dst, ',')
	}
	return dst
}

// appendString escapes what JSON demands and nothing else, as the library does.
func appendString(dst []byte, s string) []byte {
	short := map[byte]byte{'"': '"', '\\': '\\', '\b': 'b', '\f': 'f', '\n': 'n', '\r': 'r', '\t': 't'}
	dst = append(dst, '"')
	for i := range len(s) {
		c := s[i]
		switch e, ok := short[c]; {
		case ok:
			dst = append(dst, '\\', e)
		case c < ' ':
			dst = fmt.Appendf(dst, `\u%04x`, c)
		default:
			dst = append(dst, c)
		}
	}
	return append(dst, '"')
}
