package store

import (
	"context"
	"sort"
	"time"

	"excpfs/archive"
)

// Candidate is an archive that may serve as base.
type Candidate struct {
	Path     string // store-relative, as users see it; "" for a retained one
	Retained bool
	Summary  archive.Summary
	Mtime    time.Time
}

func (k *known) candidate() Candidate {
	c := Candidate{Path: k.path, Retained: k.retained, Summary: *k.summary, Mtime: time.Unix(0, k.mtime)}
	if k.retained {
		c.Path = ""
	}
	return c
}

// Candidates lists the archives of a schema, newest first: those at path itself (retained earlier content),
// then the same file name in sibling folders, then others. It waits for the scan after Open.
func (s *Store) Candidates(ctx context.Context, schema archive.ID, path string) ([]Candidate, error) {
	if err := s.scanned(ctx); err != nil {
		return nil, err
	}
	all := s.cat.ofSchema(schema)
	sort.Slice(all, func(i, j int) bool {
		a, b := all[i], all[j]
		if x, y := distance(a.path, path), distance(b.path, path); x != y {
			return x < y
		}
		if a.mtime != b.mtime {
			return a.mtime > b.mtime
		}
		return a.path < b.path
	})
	list := make([]Candidate, len(all))
	for i, k := range all {
		list[i] = k.candidate()
	}
	return list, nil
}

// distance ranks a path as place of a base for another.
func distance(a, path string) int {
	if a == path {
		return 0
	}
	folder, name := cutLast(path)
	otherFolder, otherName := cutLast(a)
	up, _ := cutLast(folder)
	otherUp, _ := cutLast(otherFolder)
	if a != "" && name == otherName && up == otherUp {
		return 1
	}
	return 2
}

// Known finds an archive of just this content: sealing it again is a copy.
func (s *Store) Known(ctx context.Context, id archive.ID) (Candidate, bool) {
	if s.scanned(ctx) != nil {
		return Candidate{}, false
	}
	if all := s.cat.content(id); len(all) > 0 {
		return all[0].candidate(), true
	}
	return Candidate{}, false
}
