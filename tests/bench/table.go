package main

import (
	"fmt"
	"slices"
	"strings"
)

// table is printed as Markdown.
type table struct {
	title string
	rows  [][]string
}

func newTable(title string, head ...string) *table { return &table{title, [][]string{head}} }

func (t *table) add(cells ...string) { t.rows = append(t.rows, cells) }

func (t *table) print() {
	width := make([]int, len(t.rows[0]))
	for _, r := range t.rows {
		for i, c := range r {
			width[i] = max(width[i], len(c), 3)
		}
	}
	fmt.Printf("\n### %s\n\n", t.title)
	for n, r := range t.rows {
		for i, c := range r {
			fmt.Printf("| %-*s ", width[i], c)
		}
		fmt.Println("|")
		if n == 0 {
			for _, w := range width {
				fmt.Print("|", strings.Repeat("-", w+2))
			}
			fmt.Println("|")
		}
	}
}

func median(v []float64) float64 {
	if len(v) == 0 {
		return 0
	}
	s := slices.Clone(v)
	slices.Sort(s)
	return s[len(s)/2]
}

func times(original, stored int64) string {
	return fmt.Sprintf("%.2fx", float64(original)/float64(stored))
}
