// Package codec is the arithmetic of the archive: slices in, slices out, no
// I/O, no goroutines. Every stage stands with its inverse in one file. The
// payloads are docs/FORMAT.md section 3, which is normative.
//
// A tensor that is stored lossily is a support (which elements are coded), a
// symbol for each element of the support, and a codebook that says what a symbol
// is worth. Support and Values hold the models of the first two for a whole
// tensor and code it chunk by chunk; once made they are safe for concurrent use.
package codec
