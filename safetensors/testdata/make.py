#!/usr/bin/env python3
"""Makes the fixtures here with the format's own library (safetensors 0.8.0, numpy)."""
import os
import numpy as np
from safetensors.numpy import save_file

here = os.path.dirname(os.path.abspath(__file__))
n = lambda dtype, *shape: np.arange(np.prod(shape, dtype=int)).reshape(shape).astype(dtype)
save_file({}, here + "/empty.safetensors")
save_file({"x": n("float32", 3)}, here + "/one.safetensors", metadata={"format": "np"})
save_file({
    "layers.10.weight": n("float16", 2, 5), "layers.2.weight": n("float32", 4, 2), "mask": n("bool", 7),
    "step": n("int64"), "none": n("float32", 0, 3), "idx": n("uint8", 5), "w64": n("float64", 2),
}, here + "/mixed.safetensors")
types = "bool uint8 int8 int16 uint16 float16 int32 uint32 float32 float64 int64 uint64".split()
save_file({**{t: n(t, 2) for t in types}, "a\"b\\c\n\x01\x7f/<ä>\u2028": n("uint8", 1), "A": n("float32", 1)},
          here + "/escapes.safetensors", metadata={"k\t": "v\"\r\x1f"})
