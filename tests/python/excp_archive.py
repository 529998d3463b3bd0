#!/usr/bin/env python3
"""A series of checkpoints as the script of ExCP's authors archives it, and its reconstruction.

    excp_archive.py make CHAIN OUT [--small] [--odd] [--deep]
    excp_archive.py compare WANT GOT [CHECKPOINT...]

make writes from CHAIN/checkpoint-{500,600,700} (a GPT-NeoX; moments in optimizer.safetensors)

    OUT/models/checkpoint-500     full: model.safetensors, optimizer.pt as Trainer saves it
    OUT/models/checkpoint-600     compressed.pt
    OUT/models/checkpoint-700     compressed.pt
    OUT/models2/checkpoint-100    compressed.pt, of a state made up from the two before
    OUT/want/...                  the three deltas as the script reconstructs them

in the closed loop of the script's shell scripts: each is the difference to the
reconstruction of the one before. This is an implementation of its own, in numpy; instead
of faiss any k-means does, for a reader takes what codebooks there are. --small keeps a few
small tensors. --odd adds what is rare: few non-zeros (no codebook), negative zeros, a
parameter that the last delta lacks and, with --small, half precision in the base. --deep
goes on in models2 to checkpoint-900, where nothing changes any more.

compare says whether two checkpoint folders, or those named in two, hold the same tensors, bit for bit.
"""
import argparse
import os
import shutil
import struct
import sys
import zipfile

import numpy as np
import torch
from safetensors.torch import load_file, save_file

BITS = 4
STEPS = [("models/checkpoint-500", 500), ("models/checkpoint-600", 600), ("models/checkpoint-700", 700), ("models2/checkpoint-100", None)]
SMALL = ("embed_out.weight", "gpt_neox.layers.0.input_layernorm.weight", "gpt_neox.layers.0.input_layernorm.bias",
         "gpt_neox.final_layer_norm.weight", "gpt_neox.layers.0.attention.dense.bias")
DECAYED = ("attention.query_key_value.weight", "attention.dense.weight", "mlp.dense_h_to_4h.weight", "mlp.dense_4h_to_h.weight")
UNDECAYED = ("input_layernorm.weight", "input_layernorm.bias", "post_attention_layernorm.weight", "post_attention_layernorm.bias",
             "attention.query_key_value.bias", "attention.dense.bias", "mlp.dense_h_to_4h.bias", "mlp.dense_4h_to_h.bias")


def order(names):
    """The names in the order of Trainer's optimizer."""
    layers = 1 + max(int(n.split(".")[2]) for n in names if n.startswith("gpt_neox.layers."))
    full = ["gpt_neox.embed_in.weight"] + ["gpt_neox.layers.%d.%s" % (i, p) for i in range(layers) for p in DECAYED]
    full += ["embed_out.weight"] + ["gpt_neox.layers.%d.%s" % (i, p) for i in range(layers) for p in UNDECAYED]
    full += ["gpt_neox.final_layer_norm.weight", "gpt_neox.final_layer_norm.bias"]
    assert set(names) <= set(full), set(names) - set(full)
    return [n for n in full if n in names]


class State:
    """Weights, and per weight step, exp_avg and exp_avg_sq, as numpy arrays."""

    def __init__(self, weights, moments):
        self.weights, self.moments = weights, moments

    @classmethod
    def load(cls, folder, small):
        w = {k: v.numpy() for k, v in load_file(os.path.join(folder, "model.safetensors")).items() if not small or k in SMALL}
        if small:
            w["embed_out.weight"] = w["embed_out.weight"][:8]
        o = load_file(os.path.join(folder, "optimizer.safetensors"))
        m = {}
        for k in w:
            m[k] = {p: o[p + "." + k].numpy() for p in ("step", "exp_avg", "exp_avg_sq")}
            for p in ("exp_avg", "exp_avg_sq"):
                m[k][p] = m[k][p].reshape(-1)[:w[k].size].reshape(w[k].shape).copy()
        return cls(w, m)


def made_up(a, b):
    """A state beyond b as b is beyond a."""
    w = {k: (b.weights[k] + np.float32(0.75) * (b.weights[k] - a.weights[k])).astype(np.float32) for k in b.weights}
    m = {k: {"step": b.moments[k]["step"], "exp_avg": b.moments[k]["exp_avg"] * np.float32(0.9),
             "exp_avg_sq": b.moments[k]["exp_avg_sq"] * np.float32(1.1)} for k in b.weights}
    return State(w, m)


def optimizer(state, names):
    """The dict that an AdamW of two groups saves."""
    decay = [i for i, n in enumerate(names) if state.weights[n].ndim > 1]
    rest = [i for i, n in enumerate(names) if state.weights[n].ndim <= 1]
    assert decay + rest == list(range(len(names)))
    common = {"lr": 1e-3, "betas": (0.9, 0.95), "eps": 1e-8, "amsgrad": False, "initial_lr": 1e-3}
    tensors = {i: {p: torch.from_numpy(np.array(state.moments[n][p])) for p in ("step", "exp_avg", "exp_avg_sq")} for i, n in enumerate(names)}
    return {"state": tensors, "param_groups": [dict(common, weight_decay=0.1, params=decay), dict(common, weight_decay=0.0, params=rest)]}


def kmeans(x, k):
    """Some centres, in no order."""
    c = np.unique(np.quantile(x, (np.arange(k) + 0.5) / k).astype(np.float32))
    while len(c) < k:
        c = np.append(c, c[-1] + np.float32(1e-3) * (1 + abs(c[-1])))
    for _ in range(10):
        near = np.abs(x[:, None] - c[None]).argmin(1)
        for j in range(k):
            if (near == j).any():
                c[j] = x[near == j].mean()
    c = np.random.default_rng(len(x)).permutation(c)
    return c.reshape(-1, 1), np.abs(x[:, None] - c[None]).argmin(1)


def quant(t):
    """Labels, two to a byte, and a codebook; or the tensor itself."""
    flat = t.reshape(-1)
    values = flat[flat != 0]
    if len(values) <= 2 ** BITS - 1:
        return torch.from_numpy(t.copy()), None
    book, near = kmeans(values, 2 ** BITS - 1)
    labels = np.zeros(flat.shape, np.uint8)
    labels[flat != 0] = near + 1
    packed = labels[0::2] << 4 | labels[1::2]
    return torch.from_numpy(packed.reshape(-1, t.shape[-1] // 2).copy()), torch.from_numpy(book).to(torch.float16)


def compress(state, base, names, lacking):
    """The dict of compressed.pt."""
    out = {}
    for k in sorted(base.weights):
        if k not in names or k in lacking:
            continue
        m, v = state.moments[k]["exp_avg"], state.moments[k]["exp_avg_sq"]
        d = state.weights[k] - base.weights[k].astype(np.float32)
        threshold = min(2.5, 5e-5 / max(np.sqrt(v.mean(dtype=np.float64)), 1e-30)) * np.sort(np.abs(d).reshape(-1))[(d.size - 1) // 2]
        d = np.where(np.abs(d) > threshold, d, np.float32(0))
        keep = (np.abs(m) > 2 * np.abs(m).mean()) & (d != 0)
        out[k] = {}
        for key, t in (("weights", d), ("opt_v", np.where(keep, m, np.float32(0))), ("opt_m", np.where(keep, v, np.float32(0)))):
            labels, book = quant(t)
            out[k][key + "_i"] = labels
            if book is not None:
                out[k][key + "_c"] = book
    return out


def unquant(entry, key, shape):
    labels = entry[key + "_i"].numpy()
    if key + "_c" not in entry:
        return labels.reshape(shape)
    book = np.concatenate([[np.float32(0)], entry[key + "_c"].numpy().astype(np.float32).reshape(-1)]).astype(np.float32)
    flat = labels.reshape(-1)
    return book[np.stack([flat >> 4, flat & 15], 1).reshape(-1)].reshape(shape)


def reconstruct(delta, base):
    """The state that the script makes; the moments of what the delta lacks stay."""
    w, m = {}, dict(base.moments)
    for k, entry in delta.items():
        shape = base.weights[k].shape
        w[k] = unquant(entry, "weights", shape) + base.weights[k].astype(np.float32)
        m[k] = {"step": base.moments[k]["step"], "exp_avg": unquant(entry, "opt_v", shape), "exp_avg_sq": unquant(entry, "opt_m", shape)}
    return State(w, m)


def save(folder, state, names):
    os.makedirs(folder, exist_ok=True)
    save_file({k: torch.from_numpy(np.ascontiguousarray(v)) for k, v in state.weights.items()},
              os.path.join(folder, "model.safetensors"), metadata={"format": "pt"})
    torch.save(optimizer(state, names), os.path.join(folder, "optimizer.pt"))


def oddities(states, small):
    base = states[0]
    base.weights["embed_out.weight"][0, :4] = -0.0  # the script adds zeros to them: they lose their sign
    for s in states[1:]:
        s.weights["embed_out.weight"][0, :4] = -0.0
        few = s.weights["gpt_neox.layers.0.input_layernorm.weight"]
        few[:] = base.weights["gpt_neox.layers.0.input_layernorm.weight"]
        few[3], few[5] = few[3] + np.float32(0.25), np.float32(1e-42)
    if small:
        half = base.weights["gpt_neox.layers.0.attention.dense.bias"].astype(np.float16)
        base.weights["gpt_neox.layers.0.attention.dense.bias"] = half


def make(chain, out, small, odd, deep):
    states = [State.load(os.path.join(chain, "checkpoint-%d" % s), small) for _, s in STEPS[:-1]]
    states.append(made_up(states[1], states[2]))
    steps = STEPS + [("models2/checkpoint-%d00" % i, None) for i in range(2, 10) if deep]
    while len(states) < len(steps) - 1:
        states.append(made_up(states[-1], states[-2]))
    names = order(list(states[0].weights))
    if odd:
        oddities(states, small)
    save(os.path.join(out, STEPS[0][0]), states[0], names)
    base = states[0]
    for (folder, step), state in zip(steps, states + [None] * deep):
        os.makedirs(os.path.join(out, folder), exist_ok=True)
        if step:
            shutil.copyfile(os.path.join(chain, "checkpoint-%d" % step, "config.json"), os.path.join(out, folder, "config.json"))
        if state is states[0]:
            continue
        lacking = {"gpt_neox.layers.0.input_layernorm.bias"} if odd and state is states[-1] else set()
        delta = compress(state or base, base, names, lacking)
        torch.save(delta, os.path.join(out, folder, "compressed.pt"))
        last, base = base, reconstruct(delta, base)
        base_all = State({**last.weights, **base.weights}, base.moments)
        write_want(os.path.join(out, "want", folder), base, base_all, names)


def write_want(folder, state, whole, names):
    """whole has the shapes of what the model lacks too: its moments are still there."""
    os.makedirs(folder, exist_ok=True)
    save_file({k: torch.from_numpy(np.ascontiguousarray(v)) for k, v in state.weights.items()},
              os.path.join(folder, "model.safetensors"), metadata={"format": "pt"})
    shapes = {k: state.moments[k]["exp_avg"] for k in names}
    torch.save(optimizer(State(shapes, state.moments), names), os.path.join(folder, "optimizer.pt"))


def header(path):
    with open(path, "rb") as f:
        return f.read(8 + struct.unpack("<Q", f.read(8))[0])


def bits(t):
    return str(t.dtype), tuple(t.shape), t.contiguous().numpy().tobytes()


def same(a, b, path, faults):
    if isinstance(a, torch.Tensor) and isinstance(b, torch.Tensor):
        if bits(a) != bits(b):
            faults.append("%s differs" % path)
    elif isinstance(a, dict) and isinstance(b, dict) and list(a) == list(b):
        for k in a:
            same(a[k], b[k], "%s.%s" % (path, k), faults)
    elif isinstance(a, list) and isinstance(b, list) and len(a) == len(b):
        for i, (x, y) in enumerate(zip(a, b)):
            same(x, y, "%s.%d" % (path, i), faults)
    elif type(a) != type(b) or a != b:
        faults.append("%s: %r, not %r" % (path, b, a))


def compare(want, got):
    faults = []
    same(load_file(os.path.join(want, "model.safetensors")), load_file(os.path.join(got, "model.safetensors")), "model", faults)
    if header(os.path.join(want, "model.safetensors")) != header(os.path.join(got, "model.safetensors")):
        faults.append("the header of model.safetensors is not what save_file writes")
    with zipfile.ZipFile(os.path.join(got, "optimizer.pt")) as z:
        if z.testzip():
            faults.append("optimizer.pt: checksum of %s" % z.testzip())
    same(torch.load(os.path.join(want, "optimizer.pt")), torch.load(os.path.join(got, "optimizer.pt")), "optimizer", faults)
    for f in faults[:20]:
        print("%s: %s" % (got, f))
    return not faults


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("verb", choices=("make", "compare"))
    p.add_argument("a")
    p.add_argument("b")
    p.add_argument("checkpoints", nargs="*", default=[""])
    p.add_argument("--small", action="store_true")
    p.add_argument("--odd", action="store_true")
    p.add_argument("--deep", action="store_true")
    a = p.parse_args()
    if a.verb == "make":
        make(a.a, a.b, a.small, a.odd, a.deep)
    elif not all([compare(os.path.join(a.a, c), os.path.join(a.b, c)) for c in a.checkpoints]):
        sys.exit(1)


if __name__ == "__main__":
    main()
