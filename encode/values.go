package encode

import (
	"context"
	"io"

	"excpfs/codec"
	"excpfs/decode"
	"excpfs/tensor"
)

// Elements fills dst with what a tensor says of its elements from one on.
type Elements func(ctx context.Context, dst []float32, at int64) error

// Values reads a float tensor of a file. It is for one goroutine, as are those below.
func Values(src io.ReaderAt, t tensor.Info) Elements {
	var p []byte
	return func(_ context.Context, dst []float32, at int64) (err error) {
		if p, err = readSpan(src, t, span{at, len(dst)}, p); err == nil {
			codec.Floats(dst[:0], p, t.DType)
		}
		return err
	}
}

// Changes gives, by tensor of a file, a reader of its residual to that of the same name in another;
// nil: there is none.
func Changes(src io.ReaderAt, l *tensor.Layout, base *decode.File) func(i int) Elements {
	names := byName(base)
	return func(i int) Elements {
		t := l.Tensors[i]
		b, ok := names[t.Name]
		if !ok || !sameKind(t, base.Index().Tensors[b].Info) {
			return nil
		}
		return residuals(t,
			func(_ context.Context, p []byte, off int64) error { return readFull(src, t, p, off) },
			func(ctx context.Context, p []byte, off int64) error { return base.ReadTensor(ctx, b, p, off) })
	}
}

// Residuals reads the residual of a tensor of an archive; nil: it has no base.
func Residuals(f *decode.File, i int) Elements {
	if has, err := f.BaseTensor(context.Background(), i, nil, 0); !has || err != nil {
		return nil
	}
	return residuals(f.Index().Tensors[i].Info,
		func(ctx context.Context, p []byte, off int64) error { return f.ReadTensor(ctx, i, p, off) },
		func(ctx context.Context, p []byte, off int64) error {
			_, err := f.BaseTensor(ctx, i, p, off)
			return err
		})
}

func residuals(t tensor.Info, own, base func(context.Context, []byte, int64) error) Elements {
	var p, q []byte
	w := t.DType.Width()
	return func(ctx context.Context, dst []float32, at int64) error {
		p, q = sized(p, len(dst)*w), sized(q, len(dst)*w)
		if err := own(ctx, p, at*int64(w)); err != nil {
			return err
		}
		if err := base(ctx, q, at*int64(w)); err != nil {
			return err
		}
		codec.Differences(dst[:0], p, q, t.DType)
		return nil
	}
}
