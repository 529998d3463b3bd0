package seal

import (
	"slices"

	"excpfs/archive"
)

// copyArchive writes the blocks of an archive again: the same content under another
// identity. They are checked on the way.
func copyArchive(r *archive.Reader, w *archive.Writer) (*archive.Index, error) {
	ix := *r.Index()
	ix.Tensors = slices.Clone(ix.Tensors)
	for i := range ix.Tensors {
		t := &ix.Tensors[i]
		t.Chunks, t.Supports = slices.Clone(t.Chunks), slices.Clone(t.Supports)
		blocks := []*archive.Block{&t.Model}
		for k := range t.Chunks {
			blocks = append(blocks, &t.Chunks[k])
		}
		for k := range t.Supports {
			blocks = append(blocks, &t.Supports[k])
		}
		if err := copyBlocks(r, w, t.Name, blocks); err != nil {
			return nil, err
		}
	}
	return &ix, nil
}

func copyBlocks(r *archive.Reader, w *archive.Writer, tensor string, blocks []*archive.Block) error {
	var buf []byte
	for _, b := range blocks {
		if b.Length == 0 {
			*b = archive.Block{}
			continue
		}
		var err error
		if buf, err = r.Block(*b, tensor, buf[:0]); err != nil {
			return err
		}
		if *b, err = w.Append(buf); err != nil {
			return err
		}
	}
	return nil
}
