// Package excp reads training checkpoints as the script of ExCP's authors archives
// them (github.com/Gaffey/ExCP, compress_pythia.py), and gives back the files that
// the script reconstructs, bit for bit.
//
// A series begins with a full checkpoint, model.safetensors and optimizer.pt. Each
// later one is compressed.pt, a dict that torch.save wrote: for each parameter
//
//	weights_i, weights_c   the change of the weight
//	opt_v_i, opt_v_c       exp_avg
//	opt_m_i, opt_m_c       exp_avg_sq
//
// where _c is a codebook of float16 and _i has a label for each element, several
// to a byte, the first in the high bits; label 0 is zero, label n entry n-1. Where _c
// is absent _i holds the values themselves, float32.
//
// Weights are float32: change plus base, rounded once. The optimizer's file is that of
// the checkpoint before with the moments replaced; all else in it, step counters
// too, is as old as the full checkpoint. A parameter that a delta lacks is absent
// from the script's model, and so from ours, and keeps its old moments.
//
// The format has no version, no checksum, and nothing that links a delta to the
// checkpoint it was made from: a wrong base of the same shapes cannot be told.
package excp
