// Package safetensors reads the header of a safetensors file as a layout: which
// bytes are which tensor. Nothing else of the file is read, and nothing in it is
// trusted before it is checked against the file's size.
//
//	u64 length n | JSON header of n bytes, padded with spaces | tensors back to back
//
// A file that breaks any rule of the format, or uses JSON in a way that two
// readers might understand differently, is a *FormatError: not a tensor file to us.
// Such files are kept as they are, so the rules here may be, and are, strict.
package safetensors
