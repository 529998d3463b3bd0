package torchfile

import (
	"cmp"
	"io"
	"slices"
	"strings"
)

// Item says what a part of a .distcp file is.
type Item struct {
	Offset, Length int64
	FQN            string
	Chunk          []int64 // where the part begins in the tensor; nil for what is no tensor
}

// Metadata reads the .metadata file of a checkpoint of
// torch.distributed.checkpoint: the items of each .distcp file, by its name and in
// the order of their offsets. The error is a *FormatError where it is none.
// Files whose items overlap are left out: in those in the format of safetensors
// the offsets are not of the file.
func Metadata(r io.ReaderAt, size int64) (map[string][]Item, error) {
	if size > maxPickle {
		return nil, malformed("metadata of %d bytes", size)
	}
	s := newSource(r, 0, size)
	_, root, err := walk(s)
	if err != nil {
		return nil, err
	}
	if s.left() > 0 {
		return nil, malformed("%d bytes after the pickle", s.left())
	}
	data, ok := attribute(root, "metadata.Metadata", "storage_data").(*dict)
	if !ok {
		return nil, malformed("no metadata of torch.distributed.checkpoint")
	}
	files := map[string][]Item{}
	for i := 0; i+1 < len(data.items); i += 2 {
		file, item, ok := readItem(data.items[i], data.items[i+1])
		if !ok {
			return nil, malformed("entry %d of the metadata is no item of a file", i/2)
		}
		files[file] = append(files[file], item)
	}
	for file, items := range files {
		slices.SortStableFunc(items, func(a, b Item) int { return cmp.Compare(a.Offset, b.Offset) })
		if overlap(items) {
			delete(files, file)
		}
	}
	return files, nil
}

// readItem reads an entry: MetadataIndex(fqn, offset) and
// _StorageInfo(relative_path, offset, length).
func readItem(index, place value) (file string, x Item, ok bool) {
	const indexClass, placeClass = "metadata.MetadataIndex", "filesystem._StorageInfo"
	x.FQN, ok = attribute(index, indexClass, "fqn").(string)
	if !ok || len(x.FQN) > maxName {
		return "", x, false
	}
	if chunk := attribute(index, indexClass, "offset"); chunk != nil {
		if x.Chunk, ok = sizes(chunk); !ok {
			return "", x, false
		}
		if x.Chunk == nil { // a scalar
			x.Chunk = []int64{}
		}
	}
	file, ok = attribute(place, placeClass, "relative_path").(string)
	offset, ok2 := attribute(place, placeClass, "offset").(int64)
	length, ok3 := attribute(place, placeClass, "length").(int64)
	x.Offset, x.Length = offset, length
	return file, x, ok && ok2 && ok3 && offset >= 0 && length >= 0 && offset+length >= 0
}

// attribute is that of an object of a class of torch.distributed.checkpoint, or nil.
func attribute(v value, class, name string) value {
	o, ok := v.(*object)
	if !ok || len(o.states) != 1 {
		return nil
	}
	module, ok := strings.CutSuffix(string(o.fn), "."+class)
	d, isDict := o.states[0].(*dict)
	if !ok || !isDict || module != "torch.distributed.checkpoint" && module != "torch.distributed._shard.checkpoint" {
		return nil
	}
	return d.get(name)
}

func overlap(items []Item) bool {
	for i := range len(items) - 1 {
		if items[i].Offset+items[i].Length > items[i+1].Offset {
			return true
		}
	}
	return false
}
