#!/usr/bin/env python3
"""Compare a folder that a trainer wrote into a mount with the same on a plain filesystem.

    trainer_compare.py PLAIN MOUNT exact|lossy|alike

Names and sizes are the same, and files load in every way there is, with one result. In
"exact", so are all bytes. In "lossy", so is all but the float tensors of 2 dimensions
and more and the moments, which are near; structures, shapes, dtypes and strides are the
same. "alike" is for a run that went on from a lossy checkpoint: no values are compared.
Zip files pass testzip. Times and paths that a trainer notes are passed over.
"""
import collections
import hashlib
import io
import inspect
import json
import os
import pickle
import re
import sys
import zipfile

import numpy as np
import safetensors
import torch

# Files in which the trainer notes times or paths: sizes and bytes may differ.
NOTES = ("trainer_state.json", "training_args.bin", ".metadata")
TIMES = re.compile("runtime|per_second|best_model_checkpoint")
WEIGHTS, MOMENTS = 0.1, 1.0  # largest relative RMS errors

accepts = inspect.signature(torch.load).parameters
opened = collections.Counter()


def need(ok, *what):
    if not ok:
        raise AssertionError(": ".join(str(w) for w in what))


def walk(folder):
    return sorted(os.path.relpath(os.path.join(d, n), folder) for d, _, names in os.walk(folder) for n in names)


def read(path):
    with open(path, "rb") as f:
        return f.read()


def is_torch(data):
    return data[:4] == b"PK\x03\x04" or data[:12] == b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8"


def loads(path, data):
    """What each way to load a torch file gives."""
    whole = {"weights_only": False} if "weights_only" in accepts else {}
    yield "path", torch.load(path, map_location="cpu", **whole)
    with open(path, "rb") as f:
        yield "file object", torch.load(f, map_location="cpu", **whole)
    yield "bytes", torch.load(io.BytesIO(data), map_location="cpu", **whole)
    if "mmap" in accepts and data[:2] == b"PK":
        yield "mmap", torch.load(path, map_location="cpu", mmap=True, **whole)
    if "weights_only" in accepts:
        try:
            yield "weights_only", torch.load(path, map_location="cpu", weights_only=True)
        except pickle.UnpicklingError:  # objects of other kinds in it
            pass


class Tree:
    """Compares two loaded objects; near: may float tensors differ a little, values: are they compared."""

    def __init__(self, near, values=True):
        self.near, self.values = near, values

    def same(self, path, a, b):
        need(type(a) is type(b), path, "types", type(a), type(b))
        if isinstance(a, torch.Tensor):
            self.tensor(path, a, b)
        elif isinstance(a, dict):
            need(list(a) == list(b), path, "keys")
            for k in a:
                self.same("%s.%s" % (path, k), a[k], b[k])
        elif isinstance(a, (list, tuple)):
            need(len(a) == len(b), path, "lengths")
            for i, (x, y) in enumerate(zip(a, b)):
                self.same("%s[%d]" % (path, i), x, y)
        elif isinstance(a, np.ndarray):
            need(a.dtype == b.dtype and a.shape == b.shape, path, "arrays")
            need(not self.values or a.tobytes() == b.tobytes(), path, "arrays differ")
        elif self.values and isinstance(a, (int, float, str, bytes, bool, type(None))):
            need(a == b or a != a and b != b, path, a, b)

    def tensor(self, path, a, b):
        if a.layout == torch.sparse_coo and b.layout == a.layout and a.shape == b.shape:
            self.tensor(path + ", indices", a._indices(), b._indices())
            a, b = a._values(), b._values()
        if a.is_quantized and b.is_quantized and a.q_scale() == b.q_scale() and a.q_zero_point() == b.q_zero_point():
            a, b = a.int_repr(), b.int_repr()
        need(a.dtype == b.dtype and a.shape == b.shape and a.stride() == b.stride(), path, "type, shape or strides",
             a.dtype, tuple(a.shape), a.stride(), b.dtype, tuple(b.shape), b.stride())
        need(a.requires_grad == b.requires_grad, path, "requires_grad")
        if not self.values or a.numel() == 0:
            return
        a, b = a.detach(), b.detach()
        if bits(a) == bits(b):
            return
        need(not a.is_complex(), path, "is complex and differs")
        moment = "exp_avg" in path
        need(self.near, path, "values differ")
        need(a.is_floating_point() and a.numel() > 1, path, "is no float tensor and differs")
        need(moment or a.dim() > 1 and a.numel() >= 4096, path, "is a small weight and differs")
        need(bool(torch.isfinite(b.double()).all()), path, "is not finite")
        need("exp_avg_sq" not in path or bool((b >= 0).all()), path, "is negative")
        error = float((a.double() - b.double()).norm() / a.double().norm())
        need(error <= (MOMENTS if moment else WEIGHTS), path, "relative error", error)
        opened["lossy tensors"] += 1


def bits(t):
    return t.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()


def whole_zip(plain, path):
    """The zip file is sound; torch may leave out checksums, which is to stay so."""
    if zipfile.is_zipfile(plain):
        with zipfile.ZipFile(plain) as p, zipfile.ZipFile(path) as z:
            need(z.testzip() == p.testzip(), path, "testzip", z.testzip())
        opened["testzip"] += 1


def distributed(plain, path, mode):
    """Both folders of torch.distributed.checkpoint, loaded whole."""
    import torch.distributed.checkpoint as cp
    states = []
    for folder in (plain, path):
        reader = cp.FileSystemReader(folder)
        state = {k: torch.zeros(m.size, dtype=m.properties.dtype) for k, m in reader.read_metadata().state_dict_metadata.items()}
        if hasattr(cp, "load") and "no_dist" in inspect.signature(cp.load).parameters:
            cp.load(state, storage_reader=reader, no_dist=True)
        else:
            cp.load_state_dict(state, reader, no_dist=True)
        states.append(state)
    Tree(mode == "lossy", mode != "alike").same(path, *states)
    opened["torch.distributed.checkpoint"] += 1


def torch_file(plain, path, mode):
    whole_zip(plain, path)
    results = list(loads(path, read(path)))
    for how, result in results[1:]:
        Tree(False).same("%s by %s" % (path, how), results[0][1], result)
    for how, _ in results:
        opened[how] += 1
    originals = list(loads(plain, read(plain)))
    need([how for how, _ in originals] == [how for how, _ in results], path, "ways to load it")
    Tree(mode == "lossy", mode != "alike").same(path, originals[0][1], results[0][1])


def tensor_file(plain, path, mode):
    with safetensors.safe_open(plain, "pt") as p, safetensors.safe_open(path, "pt") as m:
        need(p.metadata() == m.metadata() and list(p.keys()) == list(m.keys()), path, "names")
        for k in p.keys():
            Tree(mode == "lossy", mode != "alike").same("%s: %s" % (path, k), p.get_tensor(k), m.get_tensor(k))
    opened["safe_open"] += 1


def timeless(x):
    if isinstance(x, dict):
        return {k: timeless(v) for k, v in x.items() if not TIMES.search(k)}
    return [timeless(v) for v in x] if isinstance(x, list) else x


def one(plain, path, mode):
    name, data, original = os.path.basename(path), read(path), read(plain)
    if name in NOTES:
        whole_zip(plain, path)
        if name == ".metadata":
            distributed(os.path.dirname(plain), os.path.dirname(path), mode)
        if name.endswith(".json"):
            x, y = timeless(json.loads(original)), timeless(json.loads(data))
            Tree(False, mode != "alike").same(path, x, y)
        return
    if data != original:
        need(mode != "exact", path, "sha256", hashlib.sha256(data).hexdigest(), hashlib.sha256(original).hexdigest())
        need(len(data) == len(original), path, "sizes", len(original), len(data))
    if name.endswith(".distcp"):
        return  # distributed loads them
    if is_torch(original):
        torch_file(plain, path, mode)
    elif name.endswith(".safetensors"):
        tensor_file(plain, path, mode)
    else:
        need(data == original, path, "bytes differ")


def main(plain, mount, mode):
    need(walk(plain) == walk(mount), "names", walk(plain), walk(mount))
    for rel in walk(plain):
        one(os.path.join(plain, rel), os.path.join(mount, rel), mode)
    print("%d files alike; opened by %s" % (len(walk(plain)), ", ".join("%s: %d" % kv for kv in sorted(opened.items()))))


if __name__ == "__main__":
    main(*sys.argv[1:])
