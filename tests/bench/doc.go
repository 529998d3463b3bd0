// Command bench measures a built excpfs next to general compressors and the host
// filesystem, on the same bytes in one run, and prints the tables of
// docs/PERFORMANCE.md. Ratios of one run are worth keeping; absolute figures are
// the machine's.
package main
