package main

import (
	"fmt"
	"math"
	"strconv"

	"excpfs/tensor"
)

// formatSize writes bytes in three or four digits and a binary unit.
func formatSize(n int64) string {
	if n < 1024 {
		return strconv.FormatInt(n, 10) + " B"
	}
	v, unit := float64(n), -1
	for v >= 1023.95 && unit < 5 {
		v /= 1024
		unit++
	}
	return fmt.Sprintf("%.1f %ciB", v, "KMGTPE"[unit])
}

// formatRatio is logical over stored.
func formatRatio(logical, stored int64) string {
	if stored <= 0 {
		return "-"
	}
	return fmt.Sprintf("%.2f", float64(logical)/float64(stored))
}

// formatError writes the relative RMS errors of a file by role.
func formatError(e [3]float64) string {
	var s string
	for i, name := range [...]string{tensor.Weight: "w", tensor.ExpAvg: "m", tensor.ExpAvgSq: "v"} {
		if math.IsNaN(e[i]) || e[i] == 0 {
			continue
		}
		if s != "" {
			s += " "
		}
		s += fmt.Sprintf("%s %.3g", name, e[i])
	}
	if s == "" {
		return "0"
	}
	return s
}
