package seal

import (
	"bytes"
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"excpfs/archive"
)

// part is an item of a .distcp file.
type part struct {
	fqn   string
	shape []int
	v     []float32
}

// distcp writes a file of torch.distributed.checkpoint, and the metadata that names its items.
func distcp(file string, parts []part) (data, metadata []byte) {
	const pkg = "torch.distributed.checkpoint."
	m := new(torchWriter)
	object := func(class string, attributes ...any) func() {
		return func() {
			m.op("c" + class + "\n)\x81")
			m.dict(attributes...)
			m.op("b")
		}
	}
	var storage []any
	for _, p := range parts {
		w := new(torchWriter)
		w.tensor(p.shape, p.v)
		item := w.file()
		offset := func() {
			m.op("ctorch\nSize\n(")
			for range p.shape {
				m.number(0)
			}
			m.op("t\x85R")
		}
		storage = append(storage, object(pkg+"metadata\nMetadataIndex", "fqn", p.fqn, "offset", offset, "index", 0),
			object(pkg+"filesystem\n_StorageInfo", "relative_path", file, "offset", len(data), "length", len(item)))
		data = append(data, item...)
	}
	object(pkg+"metadata\nMetadata", "storage_data", func() { m.dict(storage...) })()
	return data, []byte("\x80\x02" + m.pickle.String() + ".")
}

func (md *model) distcpWeights() (data, metadata []byte) {
	var parts []part
	for _, n := range md.names {
		parts = append(parts, part{"model." + n, md.shapes[n], md.w[n]})
	}
	return distcp("__0_0.distcp", parts)
}

func (md *model) distcpMoments() (data, metadata []byte) {
	var parts []part
	for _, n := range md.names {
		parts = append(parts, part{"optimizer.state." + n + ".step", []int{}, []float32{7}},
			part{"optimizer.state." + n + ".exp_avg", md.shapes[n], md.m[n]}, part{"optimizer.state." + n + ".exp_avg_sq", md.shapes[n], md.v[n]})
	}
	return distcp("__0_0.distcp", parts)
}

// FSDP's two folders are one checkpoint: with the names of their metadata the moments lie in the masks of the weights.
func TestDistcp(t *testing.T) {
	md := newTwins(31)
	r := newRig(t, Options{})
	save := func(dir string, metadata bool) {
		md.train()
		for _, x := range []struct {
			sub  string
			make func() (data, metadata []byte)
		}{{"pytorch_model_fsdp_0", md.distcpWeights}, {"optimizer_0", md.distcpMoments}} {
			data, meta := x.make()
			r.put(dir+"/"+x.sub+"/__0_0.distcp", data)
			if metadata {
				r.put(dir+"/"+x.sub+"/.metadata", meta)
			}
		}
		r.drain()
	}
	save("c-1", true)
	save("c-2", true)
	weights, moments := "c-2/pytorch_model_fsdp_0/__0_0.distcp", "c-2/optimizer_0/__0_0.distcp"
	r.wantBase(weights, "c-1/pytorch_model_fsdp_0/__0_0.distcp")
	if d, ok := r.dep(moments, archive.RoleWeights); !ok || d.ID != r.index(weights).ID {
		t.Errorf("moments lie in the mask of %q (%v)", d.Hint, ok)
	}
	masks := map[string]bool{}
	for _, a := range r.index(moments).Tensors {
		masks[a.Mask] = true
	}
	for _, n := range md.names {
		if !masks["model."+n] {
			t.Errorf("no moments in the mask of %s", n)
		}
	}
	if !r.lossy(weights) || !r.lossy(moments) {
		t.Error("nothing was quantized")
	}

	// Without metadata nothing is known, so nothing is lost.
	save("d-1", false)
	want, _ := md.distcpMoments()
	if got := r.get("d-1/optimizer_0/__0_0.distcp"); !bytes.Equal(got, want) {
		t.Error("moments without names changed")
	}
	save("d-2", false)
	want, _ = md.distcpWeights()
	if got := r.get("d-2/pytorch_model_fsdp_0/__0_0.distcp"); !bytes.Equal(got, want) {
		t.Error("weights without names changed")
	}
}

// Packed or compressed in place, the weights go first, though their folder comes later by name.
func TestDistcpPacked(t *testing.T) {
	for _, how := range []string{"pack", "in place"} {
		t.Run(how, func(t *testing.T) {
			md := newTwins(33)
			r := newRig(t, Options{})
			dir := t.TempDir()
			put := func(p string, b []byte) {
				if how == "in place" {
					r.put(p, b)
					return
				}
				p = filepath.Join(dir, p)
				if err := cmp.Or(os.MkdirAll(filepath.Dir(p), 0o755), os.WriteFile(p, b, 0o644)); err != nil {
					t.Fatal(err)
				}
			}
			for i := 1; i <= 2; i++ {
				md.train()
				step := fmt.Sprintf("c-%d", i)
				weights, names := md.distcpWeights()
				put(step+"/pytorch_model_fsdp_0/__0_0.distcp", weights)
				put(step+"/pytorch_model_fsdp_0/.metadata", names)
				moments, names := md.distcpMoments()
				put(step+"/optimizer_0/__0_0.distcp", moments)
				put(step+"/optimizer_0/.metadata", names)
				var err error
				if how == "pack" {
					err = r.l.Pack(t.Context(), []string{filepath.Join(dir, step)}, step)
				} else {
					err = r.l.InPlace(t.Context(), step)
				}
				if err != nil {
					t.Fatal(err)
				}
			}
			if _, ok := r.dep("c-2/optimizer_0/__0_0.distcp", archive.RoleWeights); !ok {
				t.Error("the moments lie in no mask")
			}
		})
	}
}

// Each item of a decoded file is still a zip whose checksums are right.
func TestDistcpSums(t *testing.T) {
	md := newTwins(32)
	r := newRig(t, Options{})
	for i := range 2 {
		data, meta := md.train().distcpWeights()
		r.put(fmt.Sprintf("c-%d/__0_0.distcp", i), data)
		r.put(fmt.Sprintf("c-%d/.metadata", i), meta)
		r.drain()
	}
	if !r.lossy("c-1/__0_0.distcp") {
		t.Fatal("the weights were not quantized")
	}
	got := r.get("c-1/__0_0.distcp")
	const end = 22
	at := 0
	for i := end; i <= len(got); i++ {
		if string(got[i-end:i-end+4]) == "PK\x05\x06" {
			checkZip(t, got[at:i])
			at = i
		}
	}
	if at != len(got) {
		t.Errorf("the last zip ends at %d of %d", at, len(got))
	}
	h := r.open("c-1/__0_0.distcp", unix.O_RDWR) // and may be changed
	h.Release()
}
