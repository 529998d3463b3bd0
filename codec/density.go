package codec

import "math"

// density is how one class of a chunk is coded: the gaps between its elements, or,
// when full, between the elements that are missing.
type density struct {
	full  bool
	code  golomb // m 0: there is no such element
	codes *codes // for decoding
}

// divisors are the Golomb parameters a byte can name: 0 to 16, then eight an octave.
var divisors = func() (t [128]uint64) {
	for i := range t {
		if t[i] = uint64(i); i >= 8 {
			t[i] = uint64(8+i&7) << (i>>3 - 1)
		}
	}
	return t
}()

const fullFlag = 128

func densityOf(b byte) density {
	d := density{full: b&fullFlag != 0}
	if m := divisors[b&127]; m > 0 {
		d.code = newGolomb(m)
	}
	return d
}

// fitDensity chooses the byte of a class in which k of n elements are coded.
func fitDensity(k, n int) byte {
	flag := byte(0)
	if 2*k > n {
		k, flag = n-k, fullFlag
	}
	if k == 0 {
		return flag
	}
	p := float64(k) / float64(n)
	m := uint64(1)
	if p < 0.5 {
		m = uint64(max(1, math.Ceil(math.Log(2-p)/-math.Log1p(-p))))
	}
	i := byte(1)
	for i < 127 && (divisors[i] < m && divisors[i+1]-m <= m-divisors[i] || divisors[i+1] <= m) {
		i++
	}
	return i | flag
}
