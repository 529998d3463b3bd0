package store

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"excpfs/archive"
	"excpfs/codec"
	"excpfs/host"
	"excpfs/tensor"

	"golang.org/x/sys/unix"
)

// content is a safetensors file with one tensor; seed and step make neighbours in a chain alike.
func content(seed, step uint64) []byte {
	const n = 2000
	header := fmt.Sprintf(`{"w":{"dtype":"F32","shape":[%d],"data_offsets":[0,%d]}}`, n, 4*n)
	b := binary.LittleEndian.AppendUint64(nil, uint64(len(header)))
	b = append(b, header...)
	r, d := rand.New(rand.NewPCG(seed, 0)), rand.New(rand.NewPCG(seed, step))
	for range n {
		v := float32(r.NormFloat64()) + float32(d.NormFloat64())*1e-4*float32(step)
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(v))
	}
	return b
}

func idOf(b []byte) archive.ID {
	h := sha256.Sum256(b)
	return archive.ID(h[:16])
}

// encodeTest makes the archive of plain, as differences to base if there is one.
func encodeTest(plain, base []byte, baseDepth uint8, w *archive.Writer, t archive.Trailer) error {
	at := 8 + int64(binary.LittleEndian.Uint64(plain))
	payload := plain[at:]
	info := tensor.Info{Name: "w", DType: tensor.F32, Shape: []int64{int64(len(payload) / 4)}, Offset: at, Length: int64(len(payload))}
	l := &tensor.Layout{Format: "safetensors", Size: int64(len(plain)), Tensors: []tensor.Info{info}}
	ix := &archive.Index{Hash: sha256.Sum256(plain), Format: l.Format, Verbatim: plain[:at]}
	ix.Summary = archive.Summary{ID: idOf(plain), Size: l.Size, Schema: l.Schema(), Profile: archive.Profile{Name: "exact"},
		Error: [3]float64{0, math.NaN(), math.NaN()}}
	x := archive.Tensor{Info: info, Method: uint8(codec.Exact), Base: -1, Weights: -1, Support: -1}
	var under []byte
	if base != nil {
		x.Method, x.Base = uint8(codec.Delta), 0
		ix.Deps = []archive.Dep{{Role: archive.RoleBase, ID: idOf(base)}}
		ix.Depth = baseDepth + 1
		under = base[at:]
	}
	h := sha256.Sum256(payload)
	x.Hash = [16]byte(h[:16])
	b, err := w.Append(codec.EncodeExact(nil, payload, under, tensor.F32))
	if err != nil {
		return err
	}
	x.Chunks = []archive.Block{b}
	ix.Tensors = []archive.Tensor{x}
	return w.Finish(ix, t)
}

// env is a store folder in a test.
type env struct {
	t    *testing.T
	dir  string
	hook func(op, name string) error
	s    *Store

	failed string // operation that stopAt stopped
}

var me = Caller{uint32(os.Getuid()), uint32(os.Getgid())}

func newEnv(t *testing.T) *env {
	t.Helper()
	e := &env{t: t, dir: t.TempDir()}
	e.open()
	t.Cleanup(e.close)
	return e
}

func (e *env) open() {
	e.t.Helper()
	log := slog.New(slog.NewTextHandler(io.Discard, nil))
	if testing.Verbose() && os.Getenv("STORE_LOG") != "" {
		log = slog.Default()
	}
	s, err := open(e.dir, Options{CacheSize: 1 << 20, Log: log}, &host.FS{Hook: e.ask})
	e.must(err)
	e.s = s
	e.must(s.scanned(context.Background()))
}

func (e *env) ask(op, name string) error {
	if e.hook == nil {
		return nil
	}
	return e.hook(op, name)
}

func (e *env) close() {
	if e.s != nil {
		e.s.Close()
		e.s = nil
	}
}

func (e *env) reopen() {
	e.t.Helper()
	e.close()
	e.open()
}

func (e *env) must(err error) {
	e.t.Helper()
	if err != nil {
		e.t.Fatal(err)
	}
}

func (e *env) wants(err error, want unix.Errno) {
	e.t.Helper()
	if !errors.Is(err, want) {
		e.t.Fatalf("error %v, want %v", err, want)
	}
}

// at is the folder and the name of a path.
func (e *env) at(path string) (*Dir, string) {
	e.t.Helper()
	folder, name := cutLast(path)
	d, err := e.s.Dir(folder)
	e.must(err)
	e.t.Cleanup(func() {}) // the store closes what is left
	return d, name
}

func (e *env) mkdir(path string) {
	e.t.Helper()
	d, name := e.at(path)
	_, err := d.Mkdir(name, 0o755, me)
	e.must(err)
}

func (e *env) write(path string, b []byte) {
	e.t.Helper()
	d, name := e.at(path)
	_, h, err := d.Create(name, unix.O_WRONLY|unix.O_TRUNC, 0o644, me)
	e.must(err)
	_, err = h.WriteAt(b, 0)
	e.must(err)
	h.Release()
}

func (e *env) tryRead(path string) ([]byte, error) {
	folder, name := cutLast(path)
	d, err := e.s.Dir(folder)
	if err != nil {
		return nil, err
	}
	defer d.Release()
	h, err := d.Open(name, unix.O_RDONLY)
	if err != nil {
		return nil, err
	}
	defer h.Release()
	at, err := h.Attr()
	if err != nil {
		return nil, err
	}
	return io.ReadAll(io.NewSectionReader(h, 0, int64(at.Size)))
}

func (e *env) read(path string) []byte {
	e.t.Helper()
	b, err := e.tryRead(path)
	if err != nil {
		e.t.Fatalf("reading %s: %v", path, err)
	}
	return b
}

func (e *env) holds(path string, want []byte) {
	e.t.Helper()
	if !bytes.Equal(e.read(path), want) {
		e.t.Fatalf("%s has other bytes", path)
	}
}

func (e *env) entry(path string) Entry {
	e.t.Helper()
	d, name := e.at(path)
	x, err := d.Lookup(name)
	e.must(err)
	return x
}

func (e *env) absent(path string) {
	e.t.Helper()
	d, name := e.at(path)
	if _, err := d.Lookup(name); err != unix.ENOENT {
		e.t.Fatalf("%s: %v, want ENOENT", path, err)
	}
}

func (e *env) form(path string, want Form) {
	e.t.Helper()
	if got := e.entry(path).Form; got != want {
		e.t.Fatalf("%s has form %d, want %d", path, got, want)
	}
}

// pending finds a file in the queue.
func (e *env) pending(path string) (Pending, bool) {
	for _, p := range e.s.Pending() {
		if join(p.Dir.Path(), p.Name) == path {
			return p, true
		}
	}
	return Pending{}, false
}

// trySeal swaps the archive of a queued file in.
func (e *env) trySeal(path string, base []byte) error {
	e.t.Helper()
	p, ok := e.pending(path)
	if !ok {
		e.t.Fatalf("%s is not queued", path)
	}
	return e.sealOn(p, base)
}

func (e *env) sealPending(p Pending) error { return e.sealOn(p, nil) }

func (e *env) sealOn(p Pending, base []byte) error {
	f, id, err := e.s.OpenPlain(p)
	if err != nil {
		return err
	}
	defer f.Close()
	plain, err := io.ReadAll(f)
	if err != nil || len(plain) == 0 {
		return err
	}
	temp, err := e.s.Temp()
	if err != nil {
		return err
	}
	defer e.s.Discard(temp)
	trailer, err := e.s.NewIdentity(f, temp)
	if err != nil {
		return err
	}
	w, err := archive.NewWriter(temp)
	if err == nil {
		err = encodeTest(plain, base, 0, w, trailer)
	}
	if err != nil {
		return err
	}
	if err := e.s.Swap(p, id, temp); err != nil {
		return err
	}
	e.s.Done(p, "")
	return nil
}

func (e *env) seal(path string, b, base []byte) {
	e.t.Helper()
	e.write(path, b)
	e.must(e.trySeal(path, base))
	e.form(path, Sealed)
}

// tree lists what is in a folder of the store on the host, with modes, sizes and times.
func (e *env) tree(sub string) string {
	e.t.Helper()
	var b strings.Builder
	err := filepath.Walk(filepath.Join(e.dir, sub), func(p string, fi os.FileInfo, err error) error {
		if err != nil {
			return err
		}
		fmt.Fprintf(&b, "%s %v %d %v\n", p[len(e.dir):], fi.Mode(), fi.Size(), fi.ModTime().UnixNano())
		return nil
	})
	e.must(err)
	return b.String()
}

func (e *env) list(sub string) []string {
	e.t.Helper()
	all, err := os.ReadDir(filepath.Join(e.dir, sub))
	if os.IsNotExist(err) {
		return nil
	}
	e.must(err)
	var names []string
	for _, x := range all {
		names = append(names, x.Name())
	}
	return names
}

// clean: nothing is left of operations under way.
func (e *env) clean() {
	e.t.Helper()
	for _, sub := range []string{"tmp", "intents"} {
		if l := e.list(private + "/" + sub); len(l) > 0 {
			e.t.Fatalf("left in %s: %v", sub, l)
		}
	}
}

// foreign writes a file behind the store's back.
func (e *env) foreign(path string) {
	e.t.Helper()
	e.must(os.WriteFile(filepath.Join(e.dir, path), []byte("theirs"), 0o644))
}
