package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"text/tabwriter"

	"excpfs/archive"
	"excpfs/store"
)

const lsHelp = `
usage: excpfs ls [-l] [--json] STORE[/PATH]

Lists every file at or below PATH: the size that programs see, what it takes on
disk, and the ratio of the two. -l adds the profile, the file it is a difference
to, the depth (how many files in a row are decoded to read it), and the error:
relative RMS, by role, w weights, m first and v second moments; 0 is exact.

Example:
  excpfs ls -l /data/store/run1
`

// listing is a line of ls.
type listing struct {
	Path    string      `json:"path"`
	Logical int64       `json:"logical"`
	Stored  int64       `json:"stored"`
	Ratio   float64     `json:"ratio"`
	Profile string      `json:"profile,omitempty"`
	Base    string      `json:"base,omitempty"`
	Depth   int         `json:"depth"`
	State   string      `json:"state"`
	Error   *roleErrors `json:"error,omitempty"`
	errors  [3]float64
}

type roleErrors struct {
	Weight   *float64 `json:"weight,omitempty"`
	ExpAvg   *float64 `json:"exp_avg,omitempty"`
	ExpAvgSq *float64 `json:"exp_avg_sq,omitempty"`
}

func runLs(_ context.Context, args []string) error {
	f := newFlags("ls", lsHelp)
	long := f.Bool("l", false, "list everything that is known")
	asJSON := f.Bool("json", false, "print a JSON array")
	rest, err := parse(f, args, 1, 1)
	if err != nil {
		return err
	}
	s, p, err := openForReading(rest[0], 0)
	if err != nil {
		return err
	}
	defer s.Close()
	list := []listing{}
	err = walk(s, p.path, func(t item) error {
		if t.isRegular() {
			list = append(list, newListing(s, t))
		}
		return nil
	})
	if err != nil {
		return explain(err)
	}
	if *asJSON {
		return printJSON(list)
	}
	return printListing(list, *long)
}

func newListing(s *store.Store, t item) listing {
	l := listing{Path: t.path, Logical: t.logical(), State: t.attr("state")}
	if l.State == "" {
		l.State = "plain"
	}
	if t.entry.Form == store.Plain {
		l.Stored = l.Logical
	} else {
		l.Stored = t.stored()
		l.sealed(s)
	}
	if l.Stored > 0 {
		l.Ratio = float64(l.Logical) / float64(l.Stored)
	}
	return l
}

// sealed fills in what an archive says about itself.
func (l *listing) sealed(s *store.Store) {
	r, err := s.OpenArchive(l.Path)
	if err != nil {
		l.State = "unreadable: " + err.Error()
		return
	}
	defer r.Close()
	sum := r.Index().Summary
	l.Profile, l.Depth, l.Base, l.errors = formatProfile(sum.Profile), int(sum.Depth), baseOf(sum), sum.Error
	l.Error = &roleErrors{number(sum.Error[0]), number(sum.Error[1]), number(sum.Error[2])}
}

func formatProfile(p archive.Profile) string {
	if p.Name != "excp" {
		return p.Name
	}
	return fmt.Sprintf("excp a=%g b=%g %d bits", p.Alpha, p.Beta, p.Bits)
}

// number leaves out NaN, which JSON cannot hold: no tensor of that role.
func number(v float64) *float64 {
	if v != v {
		return nil
	}
	return &v
}

func printListing(list []listing, long bool) error {
	w := tabwriter.NewWriter(os.Stdout, 0, 4, 2, ' ', tabwriter.AlignRight)
	head := "logical\tstored\tratio\tstate\t"
	if long {
		head = "logical\tstored\tratio\tprofile\tdepth\terror\tstate\tbase\t"
	}
	fmt.Fprintln(w, head+"  path")
	var logical, stored int64
	for _, l := range list {
		logical, stored = logical+l.Logical, stored+l.Stored
		fmt.Fprintf(w, "%s\t%s\t%s\t", formatSize(l.Logical), formatSize(l.Stored), formatRatio(l.Logical, l.Stored))
		if long {
			profile, failure, depth, base := "-", "-", "-", "-"
			if l.Profile != "" {
				profile, failure, depth = l.Profile, formatError(l.errors), strconv.Itoa(l.Depth)
			}
			if l.Base != "" {
				base = l.Base
			}
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t  %s\n", profile, depth, failure, l.State, base, l.Path)
		} else {
			fmt.Fprintf(w, "%s\t  %s\n", l.State, l.Path)
		}
	}
	fmt.Fprintf(w, "%s\t%s\t%s\t\t", formatSize(logical), formatSize(stored), formatRatio(logical, stored))
	if long {
		fmt.Fprint(w, "\t\t\t\t")
	}
	fmt.Fprintf(w, "  %d files\n", len(list))
	return w.Flush()
}

func printJSON(v any) error {
	e := json.NewEncoder(os.Stdout)
	e.SetIndent("", "  ")
	return e.Encode(v)
}
