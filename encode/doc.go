// Package encode turns a tensor file, and a base, into an archive: which tensor is
// stored how, statistics, codebooks, workers. It streams within a fixed memory budget.
//
// Every tensor is planned first (passes over its chunks for statistics) and then
// coded, chunk by chunk in file order. Planning runs a few tensors ahead of coding;
// both share the workers. Whatever is decided depends on the input alone, so the
// archive is the same for any number of workers.
//
// # Profile excp
//
// All sums, means and comparisons are float64; the elements they are taken of are float32
// (codec.Floats, codec.Differences).
//
//   - Weights: dW = W - base; kept where |dW| > min(2.5, alpha/sqrt(mean v)) * median|dW|,
//     the median being the lower-middle element of all |dW|; mean v is that of the weight's
//     exp_avg_sq. Where that is unknown, or nothing would be kept, the limit is the median, and then 0. Only tensors of 2 and more dimensions and at least MinWeightElems elements
//     whose residual is at most MaxBaseRMS of their own RMS; others are exact.
//   - Moments: kept where |m| > beta * mean|m| and the decoded weight differs from its base;
//     exp_avg_sq shares the positions of exp_avg. A weight that has no base, or that did
//     not change at all, masks nothing.
//   - What is kept becomes one of at most 2^bits-1 centres by tensor. An exact zero of exp_avg_sq
//     inside the support has a codebook entry of its own.
//
// A file that was decoded from an archive is known again by its values, and coded
// without any further loss: weights by codec.Representable, moments by having at most
// 2^bits-1 distinct values.
package encode
