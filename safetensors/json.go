package safetensors

import (
	"bytes"
	"encoding/json"
	"strconv"
	"unicode/utf8"

	"excpfs/tensor"
)

// parser walks the header token by token. The grammar is fixed and flat, so
// nesting that does not belong is refused where it begins.
type parser struct {
	d *json.Decoder
}

const metadata = "__metadata__"

// parseJSON reads the whole header. Offsets in the result count from the data.
func parseJSON(text []byte) ([]tensor.Info, error) {
	switch {
	case text[0] != '{':
		return nil, malformed("header does not begin with {")
	case !utf8.Valid(text):
		return nil, malformed("header is not UTF-8")
	}
	p := parser{json.NewDecoder(bytes.NewReader(text))}
	p.d.UseNumber()
	var tensors []tensor.Info
	err := p.object("header", func(name string) error {
		if name == metadata {
			return p.metadata()
		}
		t, err := p.tensor(name)
		tensors = append(tensors, t)
		return err
	})
	if err == nil && !onlySpaces(text[p.d.InputOffset():]) {
		err = malformed("something other than spaces after the JSON")
	}
	return tensors, err
}

func (p *parser) token(what string) (json.Token, error) {
	t, err := p.d.Token()
	if err != nil {
		return nil, malformed("%s: %v", what, err)
	}
	return t, nil
}

// delim reads one bracket.
func (p *parser) delim(what string, want json.Delim) error {
	t, err := p.token(what)
	if err == nil && t != want {
		err = malformed("%s: %v where %v should be", what, t, want)
	}
	return err
}

func (p *parser) str(what string) (string, error) {
	t, err := p.token(what)
	s, ok := t.(string)
	if err == nil && !ok {
		err = malformed("%s: %v is not a string", what, t)
	}
	return s, err
}

// object calls fn before each value. No key may come twice.
func (p *parser) object(what string, fn func(key string) error) error {
	if err := p.delim(what, '{'); err != nil {
		return err
	}
	seen := map[string]bool{}
	for p.d.More() {
		key, err := p.str(what)
		if err != nil {
			return err
		}
		if seen[key] {
			return malformed("%s: %q twice", what, key)
		}
		seen[key] = true
		if err := fn(key); err != nil {
			return err
		}
	}
	return p.delim(what, '}')
}

// metadata is read for its form only; its bytes are kept with the header's.
func (p *parser) metadata() error {
	return p.object(metadata, func(string) error {
		_, err := p.str(metadata)
		return err
	})
}

func (p *parser) tensor(name string) (t tensor.Info, err error) {
	what := "tensor " + strconv.Quote(name)
	var dtype string
	var shape, offsets []int64
	fields := 0
	err = p.object(what, func(key string) (err error) {
		fields++
		switch key {
		case "dtype":
			dtype, err = p.str(what + ": dtype")
		case "shape":
			shape, err = p.numbers(what + ": shape")
		case "data_offsets":
			offsets, err = p.numbers(what + ": data_offsets")
		default:
			err = malformed("%s: unknown field %q", what, key)
		}
		return err
	})
	t = tensor.Info{Name: name, Shape: shape}
	switch {
	case err != nil:
		return t, err
	case fields != 3:
		return t, malformed("%s: needs dtype, shape and data_offsets", what)
	case len(offsets) != 2:
		return t, malformed("%s: %d data_offsets", what, len(offsets))
	}
	return t, describe(&t, dtype, offsets[0], offsets[1])
}

// numbers reads an array of non-negative integers; nil for an empty one.
func (p *parser) numbers(what string) (list []int64, err error) {
	if err := p.delim(what, '['); err != nil {
		return nil, err
	}
	for p.d.More() {
		t, err := p.token(what)
		if err != nil {
			return nil, err
		}
		n, ok := t.(json.Number)
		v, err := strconv.ParseUint(n.String(), 10, 63)
		if !ok || err != nil {
			return nil, malformed("%s: %v is not a size", what, t)
		}
		list = append(list, int64(v))
	}
	return list, p.delim(what, ']')
}
