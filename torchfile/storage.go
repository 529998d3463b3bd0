package torchfile

import (
	"slices"
	"strings"

	"excpfs/tensor"
)

// maxDims is the most dimensions that a tensor of PyTorch has.
const maxDims = 64

// class is what a storage class says of its elements. The type is invalid where
// ours have no equivalent: such storages stay verbatim.
type class struct {
	dtype tensor.DType
	width int64 // bytes an element
}

var classes = map[string]class{
	"FloatStorage":         {tensor.F32, 4},
	"DoubleStorage":        {tensor.F64, 8},
	"HalfStorage":          {tensor.F16, 2},
	"BFloat16Storage":      {tensor.BF16, 2},
	"LongStorage":          {tensor.I64, 8},
	"IntStorage":           {tensor.I32, 4},
	"ShortStorage":         {tensor.I16, 2},
	"CharStorage":          {tensor.I8, 1},
	"ByteStorage":          {tensor.U8, 1},
	"BoolStorage":          {tensor.Bool, 1},
	"ComplexFloatStorage":  {tensor.C64, 8},
	"ComplexDoubleStorage": {tensor.Invalid, 16},
	"QInt8Storage":         {tensor.Invalid, 1},
	"QUInt8Storage":        {tensor.Invalid, 1},
	"QInt32Storage":        {tensor.Invalid, 4},
	"QUInt4x2Storage":      {tensor.Invalid, 1},
	"QUInt2x4Storage":      {tensor.Invalid, 1},
	untyped:                {tensor.U8, 1},
}

// untyped is the class of a storage whose type only its tensors tell.
const untyped = "UntypedStorage"

// dtypes are the names of torch.dtype objects.
var dtypes = map[global]tensor.DType{
	"torch.float32": tensor.F32, "torch.float64": tensor.F64, "torch.float16": tensor.F16, "torch.bfloat16": tensor.BF16,
	"torch.int64": tensor.I64, "torch.int32": tensor.I32, "torch.int16": tensor.I16, "torch.int8": tensor.I8,
	"torch.uint64": tensor.U64, "torch.uint32": tensor.U32, "torch.uint16": tensor.U16, "torch.uint8": tensor.U8,
	"torch.bool": tensor.Bool, "torch.complex64": tensor.C64,
	"torch.float8_e5m2": tensor.F8E5M2, "torch.float8_e4m3fn": tensor.F8E4M3, "torch.float8_e8m0fnu": tensor.F8E8M0,
	"torch.float8_e5m2fnuz": tensor.F8E5M2FNUZ, "torch.float8_e4m3fnuz": tensor.F8E4M3FNUZ,
}

// storage is the memory of one or more tensors, as the pickle describes it.
type storage struct {
	key   string
	class string
	numel int64

	viewed   bool
	dtype    tensor.DType // of its tensors
	covered  bool
	shape    []int64 // of the tensors that cover it
	doubtful bool    // the tensors differ in dtype or role
	shapes   bool    // the covering tensors differ in shape
	opaque   bool    // part of an object of an unknown class
	verbatim bool    // described twice and differently, or part of something opaque

	named bool
	name  string      // "" if no path leads to it, or too long a one
	role  tensor.Role // by that path

	placed     bool // found in the file as it is
	at, length int64
}

// className drops the module of a storage class, if it is one of PyTorch's.
func className(g global) (string, bool) {
	for _, module := range []string{"torch.storage.", "torch.cuda.", "torch."} {
		if name, ok := strings.CutPrefix(string(g), module); ok {
			return name, true
		}
	}
	return "", false
}

// view notes a tensor on the storage.
func (s *storage) view(d tensor.DType, offset int64, shape, stride []int64) {
	s.doubtful = s.doubtful || s.viewed && d != s.dtype
	s.viewed, s.dtype = true, d
	n, ok := tensor.Product(shape)
	have := s.numel
	if s.class == untyped {
		have /= int64(d.Width())
	}
	if !ok || offset != 0 || n != have || !contiguous(shape, stride) {
		return
	}
	s.shapes = s.shapes || s.covered && !slices.Equal(shape, s.shape)
	s.covered, s.shape = true, shape
}

// contiguous reports whether the elements follow each other in memory.
func contiguous(shape, stride []int64) bool {
	if len(shape) != len(stride) {
		return false
	}
	step := int64(1)
	for i := len(shape) - 1; i >= 0; i-- {
		switch {
		case shape[i] == 0:
			return true
		case shape[i] != 1 && stride[i] != step:
			return false
		}
		step *= shape[i]
	}
	return true
}

// describe gives the type and shape of the storage's length bytes. It fails
// where they should stay verbatim.
func (s *storage) describe(length int64) (d tensor.DType, shape []int64, ok bool) {
	c, ok := classes[s.class]
	if !ok || !c.dtype.Valid() || s.verbatim || length%c.width != 0 || s.numel != length/c.width {
		return 0, nil, false
	}
	d = c.dtype
	switch {
	case s.doubtful, s.viewed && s.class != untyped && s.dtype != d:
		return tensor.U8, []int64{length}, true
	case s.viewed && s.dtype.Valid() && length%int64(s.dtype.Width()) == 0:
		d = s.dtype
	}
	if s.covered && !s.shapes && s.dtype == d {
		return d, s.shape, true
	}
	return d, []int64{length / int64(d.Width())}, true
}
