package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"strings"
	"text/tabwriter"

	"excpfs/archive"
	"excpfs/store"
)

const lsHelp = `
usage: excpfs ls [-l] [--json] STORE[/PATH]

Lists every file at or below PATH: the size that programs see, what it takes on
disk, the ratio of the two, and its state: plain, sealed (compressed) or failed,
and while the store is mounted settling or sealing, of files that wait to be
compressed; then why it is plain or failed, where that is known. -l adds the
profile, the file it is a difference to ("retained ID" if that was deleted), the
depth (how many files in a row are decoded to read it), and the error: relative
RMS, by role, w weights, m first and v second moments; 0 is exact.

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
	s, p, err := openNamed(f, args)
	if err != nil {
		return err
	}
	defer s.Close()
	list := []listing{}
	point := liveMount(p.store)
	err = walk(s, p.path, func(t item) error {
		if t.isRegular() {
			list = append(list, newListing(s, t, point))
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

func newListing(s *store.Store, t item, point string) listing {
	l := listing{Path: t.path, Logical: t.logical(), Stored: t.stored(), State: t.state(point)}
	if t.entry.Form == store.Sealed {
		l.sealed(s)
		l.Base = t.attr("base")
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
		if !strings.HasPrefix(l.State, "failed: ") {
			l.State = "failed: " + err.Error()
		}
		return
	}
	defer r.Close()
	sum := r.Index().Summary
	l.Profile, l.Depth, l.errors = formatProfile(sum.Profile), int(sum.Depth), sum.Error
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
		path := l.Path
		state, reason, _ := strings.Cut(l.State, ": ")
		if reason != "" {
			path += "  (" + reason + ")"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t", formatSize(l.Logical), formatSize(l.Stored), formatRatio(l.Logical, l.Stored))
		if long {
			profile, failure, depth, base := "-", "-", "-", "-"
			if l.Profile != "" {
				profile, failure, depth = l.Profile, formatError(l.errors), strconv.Itoa(l.Depth)
			}
			if l.Base != "" {
				base = l.Base
			}
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t  %s\n", profile, depth, failure, state, base, path)
		} else {
			fmt.Fprintf(w, "%s\t  %s\n", state, path)
		}
	}
	fmt.Fprintf(w, "%s\t%s\t%s\t\t", formatSize(logical), formatSize(stored), formatRatio(logical, stored))
	if long {
		fmt.Fprint(w, "\t\t\t\t")
	}
	fmt.Fprintf(w, "  %d files\n", len(list))
	if err := w.Flush(); err != nil {
		return err
	}
	if files, bytes := backlog(list); files > 0 {
		fmt.Printf("%d files, %s wait to be compressed\n", files, formatSize(bytes))
	}
	return nil
}

// backlog is what is not compressed yet.
func backlog(list []listing) (files int, bytes int64) {
	for _, l := range list {
		if l.State == "settling" || l.State == "sealing" {
			files++
			bytes += l.Logical
		}
	}
	return files, bytes
}

func printJSON(v any) error {
	e := json.NewEncoder(os.Stdout)
	e.SetIndent("", "  ")
	return e.Encode(v)
}
