#!/usr/bin/env python3
"""Open every safetensors file of a mount as programs do, and compare with the originals.

    clients.py ORIGINALS MOUNT exact|lossy

safe_open (lazily, with slices), safetensors.numpy, safetensors.torch and a plain read():
names, shapes, dtypes and metadata are the original's, all ways give the same values,
and in "exact" so do the originals.
"""
import hashlib
import os
import sys

import numpy as np
import safetensors
import safetensors.numpy

import rawtensors

try:
    import safetensors.torch
    import torch
except ImportError:
    torch = None
    print("skipped: no torch here; safetensors.torch is not tried")

NUMPY = {"F32": np.float32, "F16": np.float16, "F64": np.float64, "I64": np.int64, "I32": np.int32, "U8": np.uint8}


def sha256(path):
    h = hashlib.sha256()
    with open(path, "rb") as f:
        for block in iter(lambda: f.read(1 << 20), b""):
            h.update(block)
    return h.hexdigest()


def check(original, path, exact):
    want, got = rawtensors.File(original), rawtensors.File(path)
    assert got.head == want.head, "the header differs"
    assert os.path.getsize(path) == os.path.getsize(original), "the size differs"
    if exact:
        assert sha256(path) == sha256(original), "the sha256 differs"
    lazily(path, want, got)
    if all(i[0] in NUMPY for i in want.info.values()):
        loaded = safetensors.numpy.load_file(path)
        assert set(loaded) == set(want.info), "numpy: names"
        for name, (dtype, shape, *_) in want.info.items():
            x = loaded[name]
            assert x.shape == shape and x.dtype == NUMPY[dtype], "numpy: %s is %s %s" % (name, x.shape, x.dtype)
            assert x.tobytes() == got.raw(name), "numpy: %s has other values" % name
    if torch:
        with_torch(path, want, got)


def lazily(path, want, got):
    with safetensors.safe_open(path, "pt" if torch else "np") as f:
        assert f.metadata() == want.metadata, "safe_open: metadata %s" % f.metadata()
        assert sorted(f.keys()) == sorted(want.info), "safe_open: names"
        for name, (dtype, shape, *_) in want.info.items():
            s = f.get_slice(name)
            assert tuple(s.get_shape()) == shape and s.get_dtype() == dtype, "safe_open: %s" % name
            if len(shape) == 2 and torch:
                part = s[1:2].contiguous()
                row = len(got.raw(name)) // shape[0]
                assert raw_bytes(part) == got.raw(name)[row:2 * row], "safe_open: row 1 of %s" % name


def raw_bytes(t):
    return t.contiguous().view(torch.int16 if t.element_size() == 2 else torch.int32).numpy().tobytes()


def with_torch(path, want, got):
    types = {"F32": torch.float32, "BF16": torch.bfloat16, "F16": torch.float16}
    loaded = safetensors.torch.load_file(path)
    assert set(loaded) == set(want.info), "torch: names"
    for name, (dtype, shape, *_) in want.info.items():
        t = loaded[name]
        assert tuple(t.shape) == shape and t.dtype == types[dtype], "torch: %s is %s %s" % (name, t.shape, t.dtype)
        assert raw_bytes(t.reshape(-1)) == got.raw(name), "torch: %s has other values" % name


def main(originals, mount, mode):
    n = 0
    for folder, _, names in os.walk(originals):
        for name in sorted(names):
            original = os.path.join(folder, name)
            path = os.path.join(mount, os.path.relpath(original, originals))
            if name.endswith(".safetensors"):
                try:
                    check(original, path, mode == "exact")
                except Exception as e:
                    sys.exit("%s: %s: %s" % (path, type(e).__name__, e))
                n += 1
            elif os.path.exists(path) and (mode == "exact" or name != "optimizer.pt"):
                assert sha256(path) == sha256(original), path
    print("%d files open as they should" % n)
    sys.exit(0 if n else "no file was found")


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    main(*sys.argv[1:])
