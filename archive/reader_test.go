package archive

import (
	"bytes"
	"fmt"
	"io"
	"reflect"
	"sync"
	"testing"
)

// tracked remembers which ranges were read.
type tracked struct {
	io.ReaderAt
	reads [][2]int64
}

func (t *tracked) ReadAt(p []byte, off int64) (int, error) {
	t.reads = append(t.reads, [2]int64{off, int64(len(p))})
	return t.ReaderAt.ReadAt(p, off)
}

func TestReadSummary(t *testing.T) {
	s := newSample()
	p := append(appendHeader(nil, 1), make([]byte, 10000)...) // not looked at
	p = append(p, s.bytes[headerSize:]...)
	size := int64(len(p))
	tr := p[size-trailerSize:]
	le.PutUint64(tr[64:], uint64(size))
	le.PutUint32(tr[100:], checksum(tr[:100]))
	src := &tracked{ReaderAt: bytes.NewReader(p)}
	sum, trailer, err := ReadSummary(src, size, "x")
	if err != nil {
		t.Fatal(err)
	}
	sum.Error[2] = -1
	if !reflect.DeepEqual(sum, comparable(s.index).Summary) || trailer != s.trailer {
		t.Errorf("%+v, %+v", sum, trailer)
	}
	if want := [][2]int64{{size - 4096, 4096}}; !reflect.DeepEqual(src.reads, want) {
		t.Errorf("reads %v, want %v", src.reads, want)
	}
}

// A summary of more than 4 KiB takes a second read.
func TestLongSummary(t *testing.T) {
	s := newSample()
	p := newParts(t, s)
	for i := range 200 {
		s.index.Deps = append(s.index.Deps, Dep{RoleBase, ID{byte(i)}, fmt.Sprintf("run/checkpoint-%d/model.safetensors", i)})
	}
	p.summary = appendSummary(nil, &s.index.Summary)
	file := p.join()
	src := &tracked{ReaderAt: bytes.NewReader(file)}
	sum, _, err := ReadSummary(src, int64(len(file)), "x")
	if err != nil || !reflect.DeepEqual(sum.Deps, s.index.Deps) {
		t.Errorf("%d dependencies, %v", len(sum.Deps), err)
	}
	if len(src.reads) != 2 {
		t.Errorf("reads %v", src.reads)
	}
	if r := open(t, file); len(r.Index().Deps) != 203 {
		t.Errorf("%d dependencies", len(r.Index().Deps))
	}
}

// Open touches no block; Block reads nothing but its own.
func TestLazy(t *testing.T) {
	s := newSample()
	src := &tracked{ReaderAt: bytes.NewReader(s.bytes)}
	r, err := Open(src, int64(len(s.bytes)), "x")
	if err != nil {
		t.Fatal(err)
	}
	src.reads = nil
	b := r.Index().Tensors[2].Chunks[0]
	if _, err := r.Block(b, "a.weight", nil); err != nil {
		t.Fatal(err)
	}
	if want := [][2]int64{{b.Offset, int64(b.Length)}}; !reflect.DeepEqual(src.reads, want) {
		t.Errorf("reads %v, want %v", src.reads, want)
	}
	if _, err := r.Block(r.Index().Tensors[5].Chunks[0], "step.a.weight", nil); err != nil || len(src.reads) != 1 {
		t.Errorf("an inline block was read from the file: %v, %v", src.reads, err)
	}
}

func TestConcurrent(t *testing.T) {
	s := newSample()
	r := open(t, s.bytes)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for i := range r.Index().Tensors {
				ten := &r.Index().Tensors[i]
				var got []byte
				for b := range ten.blocks() {
					p, err := r.Block(*b, ten.Name, nil)
					if err != nil {
						t.Error(err)
					}
					got = append(got, p...)
				}
				if _, ok := r.Find(ten.Name); !ok || !bytes.Equal(got, s.blocks[ten.Name]) {
					t.Errorf("%s differs", ten.Name)
				}
			}
		})
	}
	wg.Wait()
	if r.Reads() != 8*13 {
		t.Errorf("%d reads", r.Reads())
	}
}

// A few stored bytes must not unpack to many.
func TestExpansion(t *testing.T) {
	s := newSample()
	p := newParts(t, s)
	p.inline = 0
	p.unpacked = append(p.unpacked, make([]byte, 32<<20)...)
	packed := unchecked(p.unpacked)
	file := p.joinPacked(packed)
	var err error
	if n := allocated(func() { err = readAll(file) }); n > allocMax || !typed(err) {
		t.Errorf("%d bytes allocated, %v", n, err)
	}
	// The same, with a length that is a lie.
	p.unpacked = p.unpacked[:1000]
	file = p.joinPacked(packed)
	if n := allocated(func() { err = readAll(file) }); n > allocMax || !typed(err) {
		t.Errorf("%d bytes allocated, %v", n, err)
	}
}
