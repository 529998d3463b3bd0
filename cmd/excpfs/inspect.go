package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"text/tabwriter"

	"excpfs/archive"
	"excpfs/codec"
	"excpfs/store"
	"excpfs/tensor"
)

const inspectHelp = `
usage: excpfs inspect [--json] STORE/PATH

Shows how each tensor of one compressed file is stored: its type and shape, how
it is encoded, the bytes before and after, and the relative RMS error (0: every
bit is kept). Encodings: same (equal to the base's), exact, delta (exact
difference to the base), residual (base plus few values), codebook (few values).
Of moments it also shows the weight they were paired with: they are kept where
that weight changed. Moments without one were pruned by their own size alone: no
weight is theirs for certain, or it is stored without a base.

Example:
  excpfs inspect /data/store/run1/checkpoint-600/model.safetensors
`

type inspection struct {
	Path    string       `json:"path"`
	ID      string       `json:"id"`
	Logical int64        `json:"logical"`
	Stored  int64        `json:"stored"`
	Profile string       `json:"profile"`
	Depth   int          `json:"depth"`
	Needs   []dependency `json:"needs"`
	Moments *pairing     `json:"moments,omitempty"`
	Tensors []tensorLine `json:"tensors"`
}

// pairing counts the parameters whose first moments are quantized.
type pairing struct {
	Parameters int `json:"parameters"`
	Paired     int `json:"paired"`
}

type dependency struct {
	Role string `json:"role"`
	ID   string `json:"id"`
	Hint string `json:"hint"`
}

type tensorLine struct {
	Name    string  `json:"name"`
	DType   string  `json:"dtype"`
	Shape   []int64 `json:"shape"`
	Method  string  `json:"method"`
	Logical int64   `json:"logical"`
	Stored  int64   `json:"stored"`
	Chunks  int     `json:"chunks"`
	Error   float64 `json:"error"`
	Weight  string  `json:"weight,omitempty"` // of a moment
}

func runInspect(_ context.Context, args []string) error {
	f := newFlags("inspect", inspectHelp)
	asJSON := f.Bool("json", false, "print a JSON object")
	s, p, err := openNamed(f, args)
	if err != nil {
		return err
	}
	defer s.Close()
	var in *inspection
	err = walk(s, p.path, func(t item) error {
		if t.path != p.path && t.path+archiveSuffix != p.path {
			return usagef("%s is a folder; inspect shows one file, excpfs ls lists many", p.arg)
		}
		if !t.isRegular() || t.entry.Form != store.Sealed {
			return fmt.Errorf("%s is not compressed (%s): there is nothing to inspect", p.arg, t.state(liveMount(p.store)))
		}
		r, err := s.OpenArchive(t.path)
		if err != nil {
			return err
		}
		defer r.Close()
		in = inspect(t, r)
		return nil
	})
	if err != nil || in == nil {
		return explain(err)
	}
	if *asJSON {
		return printJSON(in)
	}
	return in.print()
}

func inspect(t item, r *archive.Reader) *inspection {
	ix := r.Index()
	in := &inspection{Path: t.path, ID: fmt.Sprintf("%x", ix.ID), Logical: ix.Size, Stored: t.stored(),
		Profile: formatProfile(ix.Profile), Depth: int(ix.Depth), Needs: []dependency{}, Tensors: []tensorLine{}}
	for _, d := range ix.Deps {
		in.Needs = append(in.Needs, dependency{roleName(d.Role), fmt.Sprintf("%x", d.ID), d.Hint})
	}
	for i, t := range ix.Tensors {
		stored := int64(t.Model.Length)
		for _, b := range t.Chunks {
			stored += int64(b.Length)
		}
		for _, b := range t.Supports {
			stored += int64(b.Length)
		}
		in.Tensors = append(in.Tensors, tensorLine{t.Name, t.DType.String(), t.Shape, methodName(t.Method), t.Length,
			stored, len(t.Chunks), t.Error, weightOf(ix, i)})
		in.count(ix, i)
	}
	return in
}

// weightOf is the weight that a moment was paired with, by the tensor whose support it shares.
func weightOf(ix *archive.Index, i int) string {
	if s := ix.Tensors[i].Support; s >= 0 {
		i = s
	}
	return ix.Tensors[i].Mask
}

func (in *inspection) count(ix *archive.Index, i int) {
	t := ix.Tensors[i]
	if role, _ := tensor.RoleOf(t.Name); role != tensor.ExpAvg || codec.Method(t.Method) != codec.Codebook {
		return
	}
	if in.Moments == nil {
		in.Moments = &pairing{}
	}
	in.Moments.Parameters++
	if t.Mask != "" {
		in.Moments.Paired++
	}
}

func methodName(m uint8) string {
	names := map[codec.Method]string{codec.Same: "same", codec.Exact: "exact", codec.Delta: "delta",
		codec.Residual: "residual", codec.Codebook: "codebook"}
	if n, ok := names[codec.Method(m)]; ok {
		return n
	}
	return fmt.Sprintf("method %d", m)
}

func roleName(r archive.Role) string {
	switch r {
	case archive.RoleBase:
		return "base"
	case archive.RoleWeights:
		return "weights"
	case archive.RoleWeightsBase:
		return "base of the weights"
	}
	return fmt.Sprintf("role %d", r)
}

func (in *inspection) print() error {
	fmt.Printf("%s\n%s, %s on disk, ratio %s, %s, depth %d, content %s\n", in.Path, formatSize(in.Logical),
		formatSize(in.Stored), formatRatio(in.Logical, in.Stored), in.Profile, in.Depth, in.ID)
	for _, d := range in.Needs {
		fmt.Printf("needs as %s: %s (content %s)\n", d.Role, d.Hint, d.ID)
	}
	if m := in.Moments; m != nil {
		fmt.Printf("moments of %d parameters, %d paired with their weights\n", m.Parameters, m.Paired)
	}
	w := tabwriter.NewWriter(os.Stdout, 0, 4, 2, ' ', 0)
	paired := in.Moments != nil && in.Moments.Paired > 0
	fmt.Fprint(w, "\ntensor\tdtype\tshape\tmethod\tlogical\tstored\tratio\terror")
	if paired {
		fmt.Fprint(w, "\tweight")
	}
	for _, t := range in.Tensors {
		shape := strings.ReplaceAll(fmt.Sprint(t.Shape), " ", ",")
		fmt.Fprintf(w, "\n%s\t%s\t%s\t%s\t%s\t%s\t%s\t%.3g", t.Name, t.DType, shape, t.Method, formatSize(t.Logical),
			formatSize(t.Stored), formatRatio(t.Logical, t.Stored), t.Error)
		if paired {
			fmt.Fprint(w, "\t"+t.Weight)
		}
	}
	fmt.Fprintln(w)
	return w.Flush()
}
