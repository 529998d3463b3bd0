package archive

import (
	"bytes"
	"strconv"
)

// Symbols that stand for opcodes whose argument is spelled as pickle does; no opcode has these numbers.
const (
	symInt = 1 + iota // the shortest of K, M, J
	symPut            // q or r, of the next place in the memo
	symGet            // h or j
)

func intToken(v int64) token {
	switch {
	case v == int64(uint8(v)):
		return token{opInt1, []byte{byte(v)}}
	case v == int64(uint16(v)):
		return token{opInt2, le.AppendUint16(nil, uint16(v))}
	}
	return token{opInt4, le.AppendUint32(nil, uint32(v))}
}

// memoToken is op1 or op4 with a place in the memo.
func memoToken(op1, op4 byte, v uint64) token {
	if v == uint64(uint8(v)) {
		return token{op1, []byte{byte(v)}}
	}
	return token{op4, le.AppendUint32(nil, uint32(v))}
}

// symbol is what a token is in the stream, and its number if it is not spelled out.
func (t token) symbol(puts uint64) (sym byte, v int64) {
	v = int64(number(t.arg[:min(len(t.arg), 8)]))
	if t.op == opInt4 {
		v = int64(int32(v))
	}
	same := func(o token) bool { return t.op == o.op }
	switch {
	case (t.op == opInt1 || t.op == opInt2 || t.op == opInt4) && same(intToken(v)):
		return symInt, v
	case uint64(v) == puts && same(memoToken(opPut1, opPut4, puts)):
		return symPut, 0
	case same(memoToken(opGet1, opGet4, uint64(v))):
		return symGet, v
	}
	return t.op, 0
}

// decimal reads a number as str(int) writes it, of at most 18 digits.
func decimal(p []byte) (v int64, ok bool) {
	if len(p) == 0 || len(p) > 18 || p[0] == '0' && len(p) > 1 {
		return 0, false
	}
	for _, c := range p {
		if c < '0' || c > '9' {
			return 0, false
		}
		v = 10*v + int64(c-'0')
	}
	return v, true
}

// pickler codes the tokens of one pickle.
type pickler struct {
	*streams
	keys    map[string]*Tensor
	puts    uint64  // so far
	got     int64   // last place in the memo that was read
	last    int64   // number that was not expected of a tensor
	key     int64   // last decimal text
	awaited []int64 // numbers that follow the key of a tensor
}

// pickle codes p, of which only the length is known when unpacking.
func (s *streams) pickle(p []byte, keys map[string]*Tensor) {
	k := pickler{streams: s, keys: keys, last: -1, key: -1}
	buf := p[:0:len(p)]
	for at := 0; at < len(p) && s.err == nil; at = len(buf) {
		var t token
		n := 0
		if s.packing {
			t, n = nextToken(p[at:])
		}
		k.token(&t)
		if s.packing {
			buf = p[:at+n]
		} else if buf = t.append(buf); len(buf) > len(p) {
			s.fail("pickle is longer than %d bytes", len(p))
		}
	}
}

func (k *pickler) token(t *token) {
	var sym byte
	var v int64
	if k.packing {
		sym, v = t.symbol(k.puts)
	}
	k.byte(strSymbols, &sym)
	switch sym {
	case symInt:
		k.int(&v)
		*t = intToken(v)
	case symPut:
		*t = memoToken(opPut1, opPut4, k.puts)
	case symGet:
		k.get(&v)
		*t = memoToken(opGet1, opGet4, uint64(v))
	default:
		t.op = sym
		k.argument(t)
	}
	switch t.op {
	case opPut1, opPut4, opMemo:
		k.puts++
	case opReduce:
		k.awaited = nil
	}
}

func (k *pickler) argument(t *token) {
	switch a := arguments[t.op]; {
	case a == argUnknown:
		k.fail("symbol %d", t.op)
	case a < 16:
		k.bytes(strFixed, uint64(a), &t.arg)
	default:
		k.text(&t.arg)
		if width := 8 * (a & 15); a < argLine && uint64(len(t.arg))>>width != 0 {
			k.fail("opcode %q with %d bytes", t.op, len(t.arg))
		}
	}
}

// int is a number: 0 where it is the awaited one, else one more than its zigzag form.
func (k *pickler) int(v *int64) {
	want := k.last + 1
	awaited := len(k.awaited) > 0
	if awaited {
		want, k.awaited = k.awaited[0], k.awaited[1:]
	}
	var u uint64
	if k.packing && *v != want {
		u = uint64(*v)<<1 ^ uint64(*v>>63) + 1
	}
	k.number(strInts, &u)
	if *v = want; u > 0 {
		*v = int64((u-1)>>1) ^ -int64((u-1)&1)
	}
	if !awaited {
		k.last = *v
	}
}

// get is a place in the memo: 0 for the one after that of the last get, else one more than it.
func (k *pickler) get(v *int64) {
	var u uint64
	if k.packing && *v != k.got+1 {
		u = uint64(*v) + 1
	}
	k.number(strGets, &u)
	if *v = k.got + 1; u > 0 {
		*v = int64(u - 1)
	}
	k.got = *v
}

// text is 0 for the decimal number after the one before, else the length, one more, and the text.
func (k *pickler) text(v *[]byte) {
	var u uint64
	next := strconv.AppendInt(nil, k.key+1, 10)
	if k.packing && !bytes.Equal(*v, next) {
		u = uint64(len(*v)) + 1
	}
	if k.number(strStrings, &u); u > 0 {
		k.bytes(strStrings, u-1, v)
	} else {
		*v = next
	}
	if n, ok := decimal(*v); ok {
		k.key = n
	}
	if t := k.keys[string(*v)]; t != nil {
		k.awaited = awaited(t)
	}
}

// awaited are the numbers that PyTorch writes after a storage's key: how many
// elements it has; the offset, shape and strides of a tensor that covers it.
func awaited(t *Tensor) []int64 {
	n := len(t.Shape)
	if n > maxDims {
		return nil
	}
	a := make([]int64, 2+2*n)
	a[0] = t.Elems()
	copy(a[2:], t.Shape)
	step := int64(1)
	for i := n - 1; i >= 0; i-- {
		a[2+n+i] = step
		step *= max(1, t.Shape[i])
	}
	return a
}
