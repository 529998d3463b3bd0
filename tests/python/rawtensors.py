"""A plain reader and writer of safetensors files, with nothing but numpy: the tests'
own view of a file, independent of the library and of the program under test."""
import json
import struct

import numpy as np

TYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2", "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "i1",
         "U64": "<u8", "U32": "<u4", "U16": "<u2", "U8": "u1", "BOOL": "u1"}


class File:
    """head: the verbatim bytes before the data; info: name -> (dtype, shape, begin, end), in file order."""

    def __init__(self, path):
        with open(path, "rb") as f:
            raw = f.read()
        size, = struct.unpack_from("<Q", raw)
        self.head, self.data = raw[:8 + size], raw[8 + size:]
        header = json.loads(self.head[8:])
        self.metadata = header.pop("__metadata__", None)
        order = sorted(header.items(), key=lambda x: x[1]["data_offsets"])
        self.info = {k: (v["dtype"], tuple(v["shape"]), *v["data_offsets"]) for k, v in order}

    def raw(self, name):
        _, _, a, b = self.info[name]
        return self.data[a:b]

    def stored(self, name):
        """The elements as they are stored; bf16 as its 16 bits."""
        dtype, shape, a, b = self.info[name]
        return np.frombuffer(self.data[a:b], TYPES[dtype]).reshape(shape)

    def float32(self, name):
        dtype = self.info[name][0]
        x = self.stored(name)
        if dtype == "BF16":
            return (x.astype(np.uint32) << 16).view(np.float32)
        return x.astype(np.float32)

    def write(self, path, changed):
        """changed: name -> elements as stored."""
        parts = [self.head]
        for name in self.info:
            parts.append(np.ascontiguousarray(changed[name]).tobytes() if name in changed else self.raw(name))
        with open(path, "wb") as f:
            f.write(b"".join(parts))


def to_stored(x, dtype):
    """float32 rounded to a dtype, to nearest, ties to even."""
    x = np.asarray(x, np.float32)
    if dtype == "BF16":
        bits = x.view(np.uint32).astype(np.uint64)
        return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype("<u2")
    return x.astype(TYPES[dtype])


def widen(x, dtype):
    return (x.astype(np.uint32) << 16).view(np.float32) if dtype == "BF16" else x.astype(np.float32)
