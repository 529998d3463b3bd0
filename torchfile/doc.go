// Package torchfile reads the framing of PyTorch's own files as a layout: which
// bytes are which storage. Three formats are told apart by their content:
//
//	torch         one zip of stored records (torch.save since 1.6)
//	torch-legacy  pickles one after another, then the storages (before 1.6)
//	distcp        zips of one tensor each and other bytes one after another
//	              (torch.distributed.checkpoint)
//
// The extents are storages, not tensors: views, tied and transposed tensors
// share one, so the shape of an extent is only a hint. What describes the
// storages is a pickle, walked by a machine that knows a closed list of names
// and executes nothing. Anything the list lacks is opaque, and a storage that
// it leaves without a type stays verbatim bytes.
//
// What else the pickles say is read on request: Tensors lists the tensors by
// the keys that lead to them, Optimizers the parameter groups, Metadata the names
// of the items of .distcp files, by which ParseNamed names their tensors.
//
// A file that is cut, contradicts itself or has a pickle that cannot be walked
// to its end is a *FormatError: such files are kept as they are.
package torchfile
