#!/usr/bin/env python3
"""Cut the small real chain of the tests, testdata/chain, out of a large one.

    make_chain.py LARGE [DEST]

LARGE holds dev/checkpoint-{500,600,700} (fp32 weights and Adam moments of a GPT-NeoX
of 1.25 M parameters, 100 steps apart) and bf16/checkpoint-{400,500} (bf16 weights of
another). Values are never changed: kept are some matrices whole, the first rows of
the embeddings, and every vector and step counter of the kept layers, in the layout
that the safetensors library writes. The same input gives the same bytes.
"""
import json
import os
import shutil
import struct
import sys

# The matrices kept, with the number of rows (0: all).
FP32 = {
    "gpt_neox.embed_in.weight": 128,
    "embed_out.weight": 64,
    "gpt_neox.layers.0.attention.dense.weight": 0,
    "gpt_neox.layers.3.mlp.dense_4h_to_h.weight": 0,
}
FP32_VECTORS = ("gpt_neox.layers.0.", "gpt_neox.layers.3.", "gpt_neox.final_layer_norm.")
BF16 = {"gpt_neox.embed_in.weight": 64, "gpt_neox.layers.1.attention.dense.weight": 0}
BF16_VECTORS = ("gpt_neox.layers.1.",)
MOMENTS = ("exp_avg.", "exp_avg_sq.", "step.")


def read(path):
    with open(path, "rb") as f:
        size, = struct.unpack("<Q", f.read(8))
        header = json.loads(f.read(size))
        data = f.read()
    return header, data


def write(path, metadata, tensors):
    """tensors: (name, dtype, shape, bytes), in the order they are to lie in."""
    header, at = {}, 0
    if metadata is not None:
        header["__metadata__"] = metadata
    for name, dtype, shape, data in tensors:
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [at, at + len(data)]}
        at += len(data)
    head = json.dumps(header, separators=(",", ":")).encode()
    head += b" " * (-len(head) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(head)) + head)
        for tensor in tensors:
            f.write(tensor[3])


def cut(src, dest, rows, vectors):
    header, data = read(src)
    metadata = header.pop("__metadata__", None)
    kept = []
    for name, info in sorted(header.items(), key=lambda x: x[1]["data_offsets"]):
        a, b = info["data_offsets"]
        shape = info["shape"]
        weight = name
        for prefix in MOMENTS:
            if name.startswith(prefix):
                weight = name[len(prefix):]
        matrix = weight in rows
        if not matrix and not (weight.startswith(vectors) and len(shape) < 2 and not weight.endswith(MATRIX_ENDS)):
            continue
        if matrix and len(shape) == 2 and rows[weight]:
            b = a + (b - a) // shape[0] * rows[weight]
            shape = [rows[weight], shape[1]]
        kept.append((name, info["dtype"], shape, data[a:b]))
    write(dest, metadata, kept)


# Step counters of matrices that are left out end like those matrices.
MATRIX_ENDS = ("dense.weight", "query_key_value.weight", "dense_4h_to_h.weight", "dense_h_to_4h.weight")


def main(large, dest):
    for step in (500, 600, 700):
        cut_folder(large, dest, "dev/checkpoint-%d" % step, ("model.safetensors", "optimizer.safetensors"), FP32, FP32_VECTORS)
    for step in (400, 500):
        cut_folder(large, dest, "bf16/checkpoint-%d" % step, ("model.safetensors",), BF16, BF16_VECTORS)


def cut_folder(large, dest, folder, names, rows, vectors):
    src, out = os.path.join(large, folder), os.path.join(dest, folder)
    os.makedirs(out, exist_ok=True)
    for name in names:
        cut(os.path.join(src, name), os.path.join(out, name), rows, vectors)
    for name in ("config.json", "trainer_state.json"):
        shutil.copyfile(os.path.join(src, name), os.path.join(out, name))


if __name__ == "__main__":
    if not 2 <= len(sys.argv) <= 3:
        sys.exit(__doc__)
    main(sys.argv[1], sys.argv[2] if len(sys.argv) == 3 else os.path.join(os.path.dirname(os.path.abspath(__file__)), "chain"))
