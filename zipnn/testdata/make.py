#!/usr/bin/env python3
"""Make the fixtures of this folder with ZipNN itself (pip install zipnn==0.5.4, which brings torch).

    make.py            writes *.znn.safetensors, *.znn and, as NAME.plain, what ZipNN gives back
    make.py FILE...    compresses each FILE.safetensors to FILE.znn.safetensors and, without any
                       metadata, to FILE.bare.znn.safetensors; writes FILE.plain

The steps are those of ZipNN's own scripts zipnn_compress_safetensors.py and
zipnn_compress_file.py, which are not part of its package.
"""
import os
import sys
import warnings

warnings.filterwarnings("ignore")
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from zipnn import ZipNN
from zipnn.util_safetensors import (COMPRESSED_DTYPE, COMPRESSION_METHOD, build_compressed_tensor_info, get_compressed_tensors_metadata,
                                    set_compressed_tensors_metadata)

HERE = os.path.dirname(os.path.abspath(__file__))


def compress(src, dst, bare=False, **options):
    tensors, infos = {}, {}
    with safe_open(src, "pt", "cpu") as f:
        for name in f.keys():
            t = f.get_tensor(name)
            tensors[name] = t
            if not t.is_floating_point() or t.dtype == torch.float64:
                continue
            info, size = build_compressed_tensor_info(t), t.element_size() * t.nelement()
            znn = ZipNN(input_format="torch", bytearray_dtype=t.dtype, method=COMPRESSION_METHOD, threads=2, **options)
            coded = znn.compress(t)
            if len(coded) < size:
                tensors[name], infos[name] = torch.frombuffer(bytearray(coded), dtype=COMPRESSED_DTYPE), info
        metadata = None if bare else f.metadata()
    set_compressed_tensors_metadata(infos, metadata)
    save_file(tensors, dst, metadata)
    return infos


def decompress(src, dst, infos=None):
    tensors = {}
    with safe_open(src, "pt", "cpu") as f:
        listed = infos if infos is not None else get_compressed_tensors_metadata(f.metadata())
        for name in f.keys():
            tensors[name] = f.get_tensor(name)
            if name in listed:
                znn = ZipNN(input_format="torch", bytearray_dtype=COMPRESSED_DTYPE, method=COMPRESSION_METHOD, threads=2)
                tensors[name] = znn.decompress(tensors[name].contiguous().numpy())
        metadata = f.metadata()
    if metadata:
        metadata.pop("znn_compressed_vectors", None)
    save_file(tensors, dst, metadata)


def streams(data, dst, dtype, **options):
    """As zipnn_compress_file.py; ZipNN reorders its input in place, so it gets a copy."""
    znn = ZipNN(bytearray_dtype=dtype, is_streaming=True, method="HUFFMAN", threads=2, **options)
    with open(dst, "wb") as f:
        f.write(znn.compress(bytearray(data)))
    back = bytes(ZipNN(is_streaming=True, method="HUFFMAN", threads=2).decompress(open(dst, "rb").read()))
    assert back == data
    with open(dst[:-len(".znn")] + ".plain", "wb") as f:
        f.write(data)


def normal(*shape):
    return torch.randn(*shape) * 0.02


def fixtures():
    torch.manual_seed(1)
    base = os.path.join(HERE, "all")
    tensors = {
        "bf16": normal(33, 131).to(torch.bfloat16),  # odd count: the last element has no pair to be reordered with
        "fp32": normal(37, 41), "fp16": normal(50, 31).to(torch.float16),
        "e4m3": normal(60, 100).to(torch.float8_e4m3fn), "e5m2": normal(60, 100).to(torch.float8_e5m2),
        "ones": torch.ones(3, 500), "zeros": torch.zeros(2000, dtype=torch.bfloat16), "wide": torch.full((1, 1, 300), 0.5),
        "noise": torch.randint(-2**31, 2**31 - 1, (600,), dtype=torch.int32).view(torch.float32),  # stays as it is, reordered
        "small": torch.tensor([1.5, -2.25, 3.0]), "ids": torch.arange(100), "flags": torch.arange(9) % 2 == 0,
        "codes": torch.arange(50, dtype=torch.uint8), "double": torch.randn(5, dtype=torch.float64), "none": torch.zeros(0, 3),
    }
    save_file(tensors, base + ".safetensors", {"format": "pt"})
    one(base)
    os.remove(base + ".safetensors")
    # Several chunks of each group, and the rest of one.
    save_file({"w": normal(171, 31).to(torch.bfloat16), "f": normal(57, 29), "e": normal(77, 43).to(torch.float8_e4m3fn)},
              os.path.join(HERE, "chunks.safetensors"), {"format": "pt"})
    infos = compress(os.path.join(HERE, "chunks.safetensors"), os.path.join(HERE, "chunks.znn.safetensors"), compression_chunk=1024)
    os.rename(os.path.join(HERE, "chunks.safetensors"), os.path.join(HERE, "chunks.plain"))
    assert len(infos) == 3
    raw = normal(3000).to(torch.bfloat16).view(torch.uint8).numpy().tobytes()
    streams(raw + b"odd", os.path.join(HERE, "pieces.znn"), "bfloat16", streaming_chunk=2048)
    streams(normal(1500).numpy().tobytes(), os.path.join(HERE, "pieces32.znn"), "float32", streaming_chunk=4096)


def one(base):
    infos = compress(base + ".safetensors", base + ".znn.safetensors")
    compress(base + ".safetensors", base + ".bare.znn.safetensors", bare=True)
    decompress(base + ".znn.safetensors", base + ".plain")
    return infos


if __name__ == "__main__":
    for path in sys.argv[1:]:
        one(path[:-len(".safetensors")])
    if len(sys.argv) == 1:
        fixtures()
