package seal

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"math"
	"strings"
	"testing"

	"excpfs/archive"
	"excpfs/codec"
)

// torchWriter writes what torch.save does, as far as it matters: a zip of stored records, a
// pickle of dicts and lists with tensors in it, a record for each storage.
type torchWriter struct {
	pickle   bytes.Buffer
	storages [][]byte
}

func (w *torchWriter) op(s string) { w.pickle.WriteString(s) }

func (w *torchWriter) text(s string) {
	w.op("X" + string(binary.LittleEndian.AppendUint32(nil, uint32(len(s)))) + s)
}

func (w *torchWriter) number(n int) {
	w.op("J" + string(binary.LittleEndian.AppendUint32(nil, uint32(n))))
}

// dict writes key, value, key, value.
func (w *torchWriter) dict(items ...any) {
	w.op("}(")
	for _, v := range items {
		w.value(v)
	}
	w.op("u")
}

func (w *torchWriter) value(v any) {
	switch v := v.(type) {
	case string:
		w.text(v)
	case int:
		w.number(v)
	case func():
		v()
	case []int:
		w.op("](")
		for _, n := range v {
			w.number(n)
		}
		w.op("e")
	case tensorData:
		w.tensor(v.shape, v.v)
	default:
		panic(fmt.Sprintf("%T", v))
	}
}

func (w *torchWriter) tensor(shape []int, v []float32) {
	var p []byte
	for _, x := range v {
		p = binary.LittleEndian.AppendUint32(p, math.Float32bits(x))
	}
	w.op("ctorch._utils\n_rebuild_tensor_v2\n((")
	w.text("storage")
	w.op("ctorch\nFloatStorage\n")
	w.text(fmt.Sprint(len(w.storages)))
	w.text("cpu")
	w.number(len(v))
	w.op("tQK\x00(")
	for _, d := range shape {
		w.number(d)
	}
	w.op("t(")
	for i := range shape {
		stride := 1
		for _, d := range shape[i+1:] {
			stride *= d
		}
		w.number(stride)
	}
	w.op("t\x89ccollections\nOrderedDict\n)RtR")
	w.storages = append(w.storages, p)
}

func (w *torchWriter) file() []byte {
	var out bytes.Buffer
	z := zip.NewWriter(&out)
	record := func(name string, data []byte) {
		f, err := z.CreateHeader(&zip.FileHeader{Name: "archive/" + name, Method: zip.Store})
		if err == nil {
			_, err = f.Write(data)
		}
		if err != nil {
			panic(err)
		}
	}
	record("data.pkl", []byte("\x80\x02"+w.pickle.String()+"."))
	for i, p := range w.storages {
		record(fmt.Sprintf("data/%d", i), p)
	}
	record("version", []byte("3\n"))
	if err := z.Close(); err != nil {
		panic(err)
	}
	return out.Bytes()
}

// ids is the order in which an optimizer knows the parameters: matrices, then the others.
func (md *model) ids() (decayed, others []string) {
	for _, n := range md.names {
		if len(md.shapes[n]) > 1 {
			decayed = append(decayed, n)
		} else {
			others = append(others, n)
		}
	}
	return decayed, others
}

// optimizerState writes the dict of an optimizer's state.
func (md *model) optimizerState(w *torchWriter) {
	decayed, others := md.ids()
	var states []any
	for i, n := range append(decayed, others...) {
		shape := md.shapes[n]
		states = append(states, i, func() {
			w.dict("step", tensorData{"", []int{}, []float32{7}}, "exp_avg", tensorData{"", shape, md.m[n]}, "exp_avg_sq", tensorData{"", shape, md.v[n]})
		})
	}
	group := func(from, n int) {
		var ids []int
		for i := range n {
			ids = append(ids, from+i)
		}
		w.dict("lr", 1, "params", ids)
	}
	w.dict("state", func() { w.dict(states...) }, "param_groups", func() {
		w.op("](")
		group(0, len(decayed))
		group(len(decayed), len(others))
		w.op("e")
	})
}

func (md *model) optimizer() []byte {
	w := new(torchWriter)
	md.optimizerState(w)
	return w.file()
}

// stateDict is what a model's state_dict holds, key and tensor in turn.
func (md *model) stateDict() (items []any) {
	for _, n := range md.names {
		items = append(items, n, tensorData{"", md.shapes[n], md.w[n]})
	}
	return items
}

// lightning is a file with everything in it, as Lightning writes one.
func (md *model) lightning() []byte {
	w := new(torchWriter)
	w.dict("epoch", 3, "state_dict", func() { w.dict(md.stateDict()...) }, "optimizer_states", func() {
		w.op("](")
		md.optimizerState(w)
		w.op("e")
	})
	return w.file()
}

// plainLoop is such a file as people's own training loops write it.
func (md *model) plainLoop() []byte {
	w := new(torchWriter)
	w.dict("model", func() { w.dict(md.stateDict()...) }, "optimizer", func() { md.optimizerState(w) })
	return w.file()
}

// train is step with weights that move as Adam moves them, so that moments and residuals belong together.
func (md *model) train() *model {
	for _, n := range md.names {
		for i := range md.w[n] {
			// Elements differ in how steadily they are pushed one way.
			push := md.rng.NormFloat64()
			for range 20 {
				g := 1e-3 * (push + 2*md.rng.NormFloat64())
				md.m[n][i] = float32(0.9*float64(md.m[n][i]) + 0.1*g)
				md.v[n][i] = float32(0.95*float64(md.v[n][i]) + 0.05*g*g)
				md.w[n][i] -= float32(2e-4 * float64(md.m[n][i]) / math.Sqrt(float64(md.v[n][i])))
			}
		}
	}
	return md
}

// newTwins is a model with several matrices of one shape.
func newTwins(seed uint64) *model {
	md := newModel(seed)
	md.names = nil
	for i := range 3 {
		for _, s := range []string{"attn.k.weight", "attn.o.weight", "attn.q.weight", "norm.weight"} {
			md.add(fmt.Sprintf("layers.%d.%s", i, s), map[bool][]int{true: {64, 64}, false: {64}}[strings.HasPrefix(s, "attn")])
		}
	}
	return md
}

func (md *model) add(name string, shape []int) {
	md.names = append(md.names, name)
	md.shapes[name] = shape
	size := 1
	for _, d := range shape {
		size *= d
	}
	for range size {
		md.w[name] = append(md.w[name], float32(md.rng.NormFloat64()*0.02))
		md.m[name] = append(md.m[name], 0)
		md.v[name] = append(md.v[name], 1e-8)
	}
}

// shard is some of the weights.
func (md *model) shard(names []string) []byte {
	var ts []tensorData
	for _, n := range names {
		ts = append(ts, tensorData{n, md.shapes[n], md.w[n]})
	}
	return md.file(ts)
}

// wantMasks checks that every moment of a file is masked by the weight it belongs to.
func (r *rig) wantMasks(p, prefix string, md *model, weight string) {
	r.Helper()
	decayed, others := md.ids()
	masked := map[string]string{}
	for _, t := range r.index(p).Tensors {
		if t.Mask != "" {
			masked[t.Name] = t.Mask
		}
	}
	for i, n := range append(decayed, others...) {
		if got := masked[fmt.Sprintf("%sstate.%d.exp_avg", prefix, i)]; got != weight+n {
			r.Errorf("%s: moments of parameter %d lie in the mask of %q, want %q", p, i, got, weight+n)
		}
	}
}

// checkZip reads all records with their checksums, as every zip reader but PyTorch's does.
func checkZip(t *testing.T, b []byte) {
	t.Helper()
	z, err := zip.NewReader(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range z.File {
		r, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		h := crc32.NewIEEE()
		if _, err := io.Copy(h, r); err != nil || h.Sum32() != f.CRC32 {
			t.Errorf("%s: %v, %08x, want %08x", f.Name, err, h.Sum32(), f.CRC32)
		}
		r.Close()
	}
}

func (r *rig) lossy(p string) bool {
	r.Helper()
	for _, t := range r.index(p).Tensors {
		if m := codec.Method(t.Method); (m == codec.Residual || m == codec.Codebook) && t.Error != 0 {
			return true
		}
	}
	return false
}

// An optimizer's torch file is paired with its weights in any order of writing, with the weights in shards, and late.
func TestTorchOptimizer(t *testing.T) {
	md := newTwins(21)
	names := md.names
	write := func(r *rig, dir string, sharded bool) {
		if !sharded {
			r.put(dir+"/model.safetensors", md.weights())
			return
		}
		r.put(dir+"/model-00001-of-00002.safetensors", md.shard(names[:5]))
		r.put(dir+"/model-00002-of-00002.safetensors", md.shard(names[5:]))
	}
	for _, sharded := range []bool{false, true} {
		var reference []byte
		for _, order := range []string{"model first", "optimizer first", "optimizer late"} {
			t.Run(fmt.Sprintf("%s, shards %v", order, sharded), func(t *testing.T) {
				*md = *newTwins(21)
				r := newRig(t, Options{})
				for step := 1; step <= 3; step++ {
					md.train()
					dir := fmt.Sprintf("run/c-%d", step)
					if order == "optimizer first" {
						r.put(dir+"/optimizer.pt", md.optimizer())
					}
					write(r, dir, sharded)
					if order == "optimizer late" {
						r.seal()
					}
					if order != "optimizer first" {
						r.put(dir+"/optimizer.pt", md.optimizer())
					}
					r.seal()
					got := r.get(dir + "/optimizer.pt")
					checkZip(t, got)
					if !r.lossy(dir + "/optimizer.pt") {
						t.Error("the moments were not shrunk")
					}
					if step == 1 {
						continue
					}
					r.wantMasks(dir+"/optimizer.pt", "", md, "")
					if n := len(r.index(dir + "/optimizer.pt").Deps); sharded && n != 4 || !sharded && n != 2 {
						t.Errorf("%d dependencies: %v", n, r.index(dir+"/optimizer.pt").Deps)
					}
				}
				final := r.get("run/c-3/optimizer.pt")
				switch order {
				case "model first":
					reference = final
				case "optimizer first":
					if !bytes.Equal(final, reference) {
						t.Error("decodes otherwise than when the model was written first")
					}
				}
			})
		}
	}
}

// One file with weights and optimizer is a residual of the one before, each moment in its weight's mask.
func TestTorchLightning(t *testing.T) {
	md := newTwins(22).train()
	r := newRig(t, Options{})
	r.put("run/last.ckpt", md.lightning())
	r.seal()
	r.put("run/other.ckpt", md.train().lightning())
	r.seal()
	r.wantBase("run/other.ckpt", "run/last.ckpt")
	r.wantMasks("run/other.ckpt", "optimizer_states.0.", md, "state_dict.")
	checkZip(t, r.get("run/other.ckpt"))
	if c := r.index("run/other.ckpt"); !r.lossy("run/other.ckpt") || c.Depth != 1 || len(c.Deps) != 1 {
		t.Errorf("depth %d, dependencies %v", c.Depth, c.Deps)
	}
}

// Two files of one content in one job, as Lightning's epoch=1.ckpt and last.ckpt: what the second decodes to is the first.
func TestTwice(t *testing.T) {
	for _, profile := range []archive.Profile{excp, exact} {
		md := newTwins(28).train()
		r := newRig(t, Options{Profile: profile})
		r.put("run/epoch=1.ckpt", md.lightning())
		r.put("run/last.ckpt", md.lightning())
		r.seal()
		if a, b := r.index("run/epoch=1.ckpt").ID, r.index("run/last.ckpt").ID; a != b {
			t.Errorf("%s: %x and %x of one content", profile.Name, a, b)
		}
	}
}

func TestTorchPlainLoop(t *testing.T) {
	md := newTwins(27).train()
	r := newRig(t, Options{})
	for step := 1; step <= 2; step++ {
		r.put(fmt.Sprintf("run/%d.pt", step), md.train().plainLoop())
		r.seal()
	}
	r.wantMasks("run/2.pt", "optimizer.", md, "model.")
	checkZip(t, r.get("run/2.pt"))
}

// In exact, every byte is kept.
func TestTorchExact(t *testing.T) {
	md := newTwins(23).train()
	r := newRig(t, Options{Profile: exact})
	for i, b := range [][]byte{md.optimizer(), md.lightning(), md.train().optimizer(), md.lightning()} {
		p := fmt.Sprintf("run/c-%d/f.pt", i)
		r.put(p, b)
		r.seal()
		if !bytes.Equal(r.get(p), b) {
			t.Errorf("%s is not what was written", p)
		}
		if !r.sealed(p) {
			t.Errorf("%s stayed plain", p)
		}
	}
}

// What is not told by a name or a number stays as it is: other optimizers' states, tensors of no name.
func TestTorchUnknownState(t *testing.T) {
	md := newTwins(24).train()
	build := func() []byte {
		w := new(torchWriter)
		shape := []int{64, 64}
		w.dict("state", func() {
			w.dict(0, func() {
				w.dict("momentum_buffer", tensorData{"", shape, md.m[md.names[0]]}, "hessian", tensorData{"", shape, md.v[md.names[0]]})
			})
		}, "param_groups", func() { w.op("]") }, "ema_of_squares", tensorData{"", shape, md.v[md.names[1]]}, "w",
			tensorData{"", shape, md.w[md.names[1]]})
		return w.file()
	}
	r := newRig(t, Options{})
	r.put("a/f.pt", build())
	r.seal()
	md.train()
	r.put("b/f.pt", build())
	r.seal()
	r.wantBase("b/f.pt", "a/f.pt")
	for _, a := range r.index("b/f.pt").Tensors {
		if exact := a.Error == 0; exact == (a.Name == "w") {
			t.Errorf("%s: error %g", a.Name, a.Error)
		}
	}
}

// What was found once is asked of the archives, not searched again.
func TestRemembered(t *testing.T) {
	md := newTwins(25)
	r := newRig(t, Options{})
	for step := 1; step <= 2; step++ {
		md.train()
		r.put(fmt.Sprintf("run/c-%d/model.safetensors", step), md.weights())
		r.put(fmt.Sprintf("run/c-%d/optimizer.pt", step), md.optimizer())
		r.seal()
	}
	d := r.folder("run/c-2")
	defer d.Release()
	f := r.l.folder(d)
	defer f.close()
	p := f.ofSealed("run/c-2/optimizer.pt")
	defer p.close()
	p.path = "run/c-3/optimizer.pt"
	known := f.remembered(t.Context(), p)
	decayed, others := md.ids()
	for i, n := range append(decayed, others...) {
		if known[fmt.Sprint(i)] != n {
			t.Errorf("parameter %d is remembered as %q, not %s", i, known[fmt.Sprint(i)], n)
		}
	}
}

// Checkpoints that share one folder are told apart by when they were written.
func TestOneFolder(t *testing.T) {
	md := newTwins(26)
	r := newRig(t, Options{})
	for step := 1; step <= 3; step++ {
		md.train()
		model, optimizer := fmt.Sprintf("run/model_%d.safetensors", step), fmt.Sprintf("run/optimizer_%d.pt", step)
		r.put(model, md.weights())
		r.put(optimizer, md.optimizer())
		r.seal()
		if step == 1 {
			continue
		}
		r.wantMasks(optimizer, "", md, "")
		if d, _ := r.dep(optimizer, archive.RoleWeights); d.Hint != model {
			t.Errorf("%s: moments lie in the mask of %s", optimizer, d.Hint)
		}
	}
}
