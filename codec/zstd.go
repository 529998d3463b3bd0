package codec

import (
	"fmt"
	"sync"

	"github.com/klauspost/compress/zstd"
)

// Encoder and decoder for whole payloads, made when first needed. EncodeAll and DecodeAll
// are safe for concurrent use.
var (
	zstdEncoder = sync.OnceValue(func() *zstd.Encoder {
		e, err := zstd.NewWriter(nil, zstd.WithEncoderCRC(false),
			zstd.WithSingleSegment(true), zstd.WithEncoderLevel(zstd.SpeedBetterCompression), zstd.WithWindowSize(ChunkBytes))
		if err != nil {
			panic(err) // the options are constants
		}
		return e
	})
	zstdDecoder = sync.OnceValue(func() *zstd.Decoder {
		d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(0), zstd.WithDecodeAllCapLimit(true), zstd.WithDecoderMaxWindow(2*ChunkBytes))
		if err != nil {
			panic(err) // the options are constants
		}
		return d
	})
)

func appendZstd(dst, src []byte) []byte { return zstdEncoder().EncodeAll(src, dst) }

// parseZstd fills dst exactly. DecodeAll is kept from writing behind it.
func parseZstd(dst, src []byte) error {
	out, err := zstdDecoder().DecodeAll(src, dst[:0:len(dst)])
	if err != nil {
		return fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	if len(out) != len(dst) {
		return fmt.Errorf("%w: %d bytes where %d belong", ErrCorrupt, len(out), len(dst))
	}
	if len(dst) > 0 && &out[0] != &dst[0] {
		copy(dst, out)
	}
	return nil
}
