package archive

import "bytes"

// Pickles are read as a list of opcodes with their arguments. Nothing is executed, and
// no stack is kept: a list that no unpickler would take is as good as any.

// argument is what follows an opcode: a number of bytes up to 8, or one of these.
type argument uint8

const (
	argText1   argument = 16 + 1 // a length of 1, 4 or 8 bytes, and so many bytes
	argText4   argument = 16 + 4
	argText8   argument = 16 + 8
	argLine    argument = 32 // up to a newline
	argLines   argument = 33 // the same twice
	argUnknown argument = 255

	maxLine = 1024
	maxDims = 64 // of a tensor of PyTorch
)

const (
	opStop   = '.'
	opProto  = 0x80
	opReduce = 'R'
	opInt1   = 'K'
	opInt2   = 'M'
	opInt4   = 'J'
	opPut1   = 'q'
	opPut4   = 'r'
	opGet1   = 'h'
	opGet4   = 'j'
	opMemo   = 0x94
)

var arguments = func() (all [256]argument) {
	for i := range all {
		all[i] = argUnknown
	}
	for a, ops := range map[argument]string{
		0: "N\x88\x89(012]}\x8f)ltd\x91\x85\x86\x87ae\x90su\x94\x93R\x81\x92obQ.\x97\x98",
		1: "\x80Kqh\x82", 2: "M\x83", 4: "Jrj\x84", 8: "\x95G",
		argText1: "U\x8cC\x8a", argText4: "TXB\x8b", argText8: "\x8d\x8e\x96",
		argLine: "FILSVpgP", argLines: "ci",
	} {
		for _, op := range []byte(ops) {
			all[op] = a
		}
	}
	return all
}()

// token is an opcode with its argument, without lengths and the last newline.
type token struct {
	op  byte
	arg []byte
}

// nextToken reads a token from the front of p; 0: it is unknown, or not whole.
func nextToken(p []byte) (t token, length int) {
	a := arguments[p[0]]
	t.op, p = p[0], p[1:]
	switch {
	case a == argUnknown:
		return t, 0
	case a >= argLine:
		n := lines(p, a)
		if n == 0 {
			return t, 0
		}
		t.arg = p[:n-1]
		return t, 1 + n
	}
	width := int(a & 15)
	if len(p) < width {
		return t, 0
	}
	if a < 16 {
		t.arg = p[:width]
		return t, 1 + width
	}
	n := number(p[:width])
	if n > uint64(len(p)-width) {
		return t, 0
	}
	t.arg = p[width:][:n]
	return t, 1 + width + int(n)
}

// lines is the length of one or two lines; 0: they do not end, or are too long.
func lines(p []byte, a argument) (length int) {
	for range a - argLine + 1 {
		rest := p[length:]
		n := bytes.IndexByte(rest[:min(len(rest), maxLine)], '\n')
		if n < 0 {
			return 0
		}
		length += n + 1
	}
	return length
}

// append is the inverse of nextToken.
func (t token) append(b []byte) []byte {
	b = append(b, t.op)
	a := arguments[t.op]
	if a >= 16 && a < argLine {
		b = appendNumber(b, uint64(len(t.arg)), int(a&15))
	}
	b = append(b, t.arg...)
	if a >= argLine {
		b = append(b, '\n')
	}
	return b
}
