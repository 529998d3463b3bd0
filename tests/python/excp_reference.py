#!/usr/bin/env python3
"""ExCP (arXiv 2406.11257) in numpy: an independent implementation to measure against.

    excp_reference.py CHAIN OUT [--alpha A] [--beta B] [--bits N] [--steps 500,600]

Works through CHAIN/checkpoint-<step>/ (model.safetensors, and optimizer.safetensors
where it exists) in a closed loop: each step is the difference to the reconstruction
of the one before. Writes the reconstructed checkpoints to OUT/checkpoint-<step>/,
and OUT/<step>.packed: the same values as 4-bit codes two to a byte, float32
codebooks and the exact tensors as they are, the form the method's authors hand to 7-Zip.

With --script it does as the authors' script: every tensor quantized, also 1-D weights, by
k-means of 25 rounds from one start, centres as float16. It loses more, so it is smaller.
"""
import argparse
import os
import re
import shutil

import numpy as np

import rawtensors

FLOATS = ("F64", "F32", "BF16", "F16")
SMALL = 4096
MAX_BASE = 0.3
CLAMP = 2.5


def kmeans(values, k, rounds=300):
    """Lloyd's algorithm in one dimension from several starts; the best centres, float32, ascending."""
    x = np.sort(values.astype(np.float64))
    if len(np.unique(x)) <= k:
        return np.unique(values.astype(np.float32))
    sums = np.concatenate([[0.0], np.cumsum(x)])
    squares = np.concatenate([[0.0], np.cumsum(x * x)])
    rng = np.random.default_rng(1)
    q = np.linspace(0, 1, 2 * k + 1)[1::2]
    spread = np.cbrt(np.linspace(x[0] ** 3, x[-1] ** 3, 2 * k + 1)[1::2])
    density = np.interp(q, *cube_root_density(x))
    starts = [np.quantile(x, q), np.linspace(x[0], x[-1], 2 * k + 1)[1::2], spread, density]
    starts += [np.sort(rng.choice(x, k, replace=False)) for _ in range(4)]
    best, best_cost = None, np.inf
    for c in starts:
        c, cost = lloyd(x, sums, squares, np.sort(c), rounds)
        if cost < best_cost:
            best, best_cost = c, cost
    return np.unique(best.astype(np.float32))


def cube_root_density(x):
    """The optimal density of many centres goes with the cube root of the data's."""
    counts, edges = np.histogram(x, 2048)
    weight = np.cumsum(np.cbrt(counts.astype(np.float64)))
    return np.concatenate([[0], weight / weight[-1]]), edges


def lloyd(x, sums, squares, c, rounds):
    for _ in range(rounds):
        edges = np.concatenate([[0], np.searchsorted(x, (c[1:] + c[:-1]) / 2), [len(x)]])
        n = np.diff(edges)
        s = np.diff(sums[edges])
        new = np.where(n > 0, s / np.maximum(n, 1), c)
        if np.array_equal(new, c):
            break
        c = np.sort(new)
    edges = np.concatenate([[0], np.searchsorted(x, (c[1:] + c[:-1]) / 2), [len(x)]])
    n, s, q = np.diff(edges), np.diff(sums[edges]), np.diff(squares[edges])
    return c, float(np.sum(q - 2 * c * s + n * c * c))


def script_kmeans(values, k):
    x = np.sort(values.astype(np.float64))
    if len(np.unique(x)) <= k:
        return np.unique(values.astype(np.float32))
    sums, squares = (np.concatenate([[0.0], np.cumsum(y)]) for y in (x, x * x))
    start = (np.quantile(x, (np.arange(k) + 0.5) / k) + np.linspace(x[0], x[-1], k)) / 2
    return np.unique(lloyd(x, sums, squares, start, 25)[0].astype(np.float32))


def quantize(x, keep, k, cluster=kmeans):
    """Codes (0: dropped) and centres of the kept elements."""
    codes = np.zeros(x.shape, np.uint8)
    if not keep.any():
        return codes, np.zeros(0, np.float32)
    centres = cluster(x[keep], k)
    v = x[keep].astype(np.float64)
    c = centres.astype(np.float64)
    codes[keep] = 1 + np.searchsorted((c[1:] + c[:-1]) / 2, v).astype(np.uint8)
    return codes, centres


def few_values(x, k):
    u = np.unique(x)
    return np.count_nonzero(u) <= k


def rms(x):
    return float(np.sqrt(np.mean(np.square(x.astype(np.float64)))))


class Packed:
    def __init__(self):
        self.parts = []

    def exact(self, raw):
        self.parts.append(raw)

    def codes(self, codes, centres, dtype=np.float32):
        flat = codes.reshape(-1)
        if len(flat) % 2:
            flat = np.append(flat, np.uint8(0))
        self.parts.append((flat[0::2] << 4 | flat[1::2]).astype(np.uint8).tobytes() + centres.astype(dtype).tobytes())


class Step:
    """One checkpoint; base is the reconstruction of the weights before it, name -> stored elements."""

    def __init__(self, folder, base, alpha=5e-5, beta=2.0, bits=4, script=False):
        self.alpha, self.beta, self.k, self.script = alpha, beta, 2 ** bits - 1, script
        self.cluster, self.centres = (script_kmeans, np.float16) if script else (kmeans, np.float32)
        self.model = rawtensors.File(os.path.join(folder, "model.safetensors"))
        path = os.path.join(folder, "optimizer.safetensors")
        self.moments = rawtensors.File(path) if os.path.exists(path) else None
        self.base = base
        self.weights, self.states, self.changed = {}, {}, {}
        self.packed = Packed()
        for name in self.model.info:
            self.weight(name)
        if self.moments:
            for name in self.moments.info:
                self.moment(name)

    def weight(self, name):
        dtype, shape, *_ = self.model.info[name]
        stored = self.model.stored(name)
        base = self.base.get(name) if self.base else None
        out, packed = stored, None
        if base is not None and self.lossy(name, base):
            w, b = self.model.float32(name), rawtensors.widen(base, dtype)
            d = (w - b).astype(np.float32)
            size = np.abs(d)
            middle = np.sort(size, axis=None)[(size.size - 1) // 2]
            keep = size.astype(np.float64) > self.scale(name) * np.float64(middle)
            codes, centres = quantize(d, keep, self.k, self.cluster)
            out = base.copy()
            if len(centres):
                full = (b + np.concatenate([[np.float32(0)], centres])[codes]).astype(np.float32)
                out[keep] = rawtensors.to_stored(full, dtype)[keep]
            packed = codes, centres
        self.weights[name] = out
        if base is not None:
            self.changed[name] = out.view(np.uint8).reshape(out.size, -1) != base.view(np.uint8).reshape(out.size, -1)
            self.changed[name] = self.changed[name].any(axis=1).reshape(shape)
        self.packed.codes(*packed, self.centres) if packed else self.packed.exact(self.model.raw(name))

    def lossy(self, name, base):
        dtype, shape, *_ = self.model.info[name]
        if dtype not in FLOATS or not self.script and (len(shape) < 2 or int(np.prod(shape)) < SMALL):
            return False
        w = self.model.float32(name)
        if not np.isfinite(w).all() or few_values(w, self.k):
            return False
        return rms(w - rawtensors.widen(base, dtype)) <= MAX_BASE * rms(w)

    def scale(self, name):
        v = "exp_avg_sq." + name
        if not self.moments or v not in self.moments.info:
            return CLAMP
        mean = float(np.mean(self.moments.float32(v).astype(np.float64)))
        return min(CLAMP, self.alpha / np.sqrt(mean)) if mean > 0 else CLAMP

    def moment(self, name):
        role, _, weight = name.partition(".")
        x = self.moments.float32(name)
        if role not in ("exp_avg", "exp_avg_sq") or not np.isfinite(x).all() or few_values(x, self.k):
            self.states[name] = self.moments.stored(name)
            self.packed.exact(self.moments.raw(name))
            return
        m = self.moments.float32("exp_avg." + weight)
        size = np.abs(m).astype(np.float64)
        keep = size > self.beta * np.mean(size)
        if weight in self.changed:
            keep &= self.changed[weight]
        if role == "exp_avg_sq":
            keep &= x != 0
        codes, centres = quantize(x, keep, self.k, self.cluster)
        full = np.concatenate([[np.float32(0)], centres])[codes]
        self.states[name] = rawtensors.to_stored(full, self.moments.info[name][0])
        self.packed.codes(codes, centres, self.centres)

    def write(self, folder):
        os.makedirs(folder, exist_ok=True)
        self.model.write(os.path.join(folder, "model.safetensors"), self.weights)
        if self.moments:
            self.moments.write(os.path.join(folder, "optimizer.safetensors"), self.states)


def steps_of(chain):
    found = (re.fullmatch(r"checkpoint-(\d+)", d) for d in os.listdir(chain))
    return sorted(int(m[1]) for m in found if m)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("chain")
    p.add_argument("out")
    p.add_argument("--alpha", type=float, default=5e-5)
    p.add_argument("--beta", type=float, default=2.0)
    p.add_argument("--bits", type=int, default=4)
    p.add_argument("--steps", default="")
    p.add_argument("--script", action="store_true")
    a = p.parse_args()
    base = None
    for step in [int(s) for s in a.steps.split(",") if s] or steps_of(a.chain):
        src, dest = (os.path.join(d, "checkpoint-%d" % step) for d in (a.chain, a.out))
        s = Step(src, base, a.alpha, a.beta, a.bits, a.script)
        s.write(dest)
        for name in os.listdir(src):
            if name.endswith(".json") or name in ("scheduler.pt", "rng_state.pth"):
                shutil.copyfile(os.path.join(src, name), os.path.join(dest, name))
        with open(os.path.join(a.out, "%d.packed" % step), "wb") as f:
            f.write(b"".join(s.packed.parts))
        base = s.weights


if __name__ == "__main__":
    main()
