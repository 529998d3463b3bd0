#!/usr/bin/env python3
"""Checkpoints of a small model by plain torch and safetensors, in the ways training code saves them.

    trainer_torch.py files|dcp|mapped|last FOLDER STEP...

The weights are those after STEP epochs, whatever the folder holds, so that the same
bytes come out on a mount and on a plain filesystem.

files   FOLDER/step-STEP: torch.save to a path, to a file object, legacy, of views, of odd dtypes, ...
dcp     FOLDER/step-STEP: torch.distributed.checkpoint in one process
mapped  FOLDER/model.safetensors: overwritten while its former content is mapped
last    FOLDER/last.ckpt: overwritten in place, after a look at what it holds, file and folder synced;
        beside it epoch=STEP.ckpt, and the one of the epoch before is removed
"""
import inspect
import os
import sys

import safetensors
import safetensors.torch
import torch


def trained(epochs):
    torch.manual_seed(1)
    torch.set_num_threads(2)
    model = torch.nn.Sequential(torch.nn.Embedding(256, 64), torch.nn.Linear(64, 128), torch.nn.GELU(),
                                torch.nn.LayerNorm(128), torch.nn.Linear(128, 256))
    x, y = torch.randint(256, (512,)), torch.randint(256, (512,))
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-4)
    for _ in range(epochs):
        for rows in torch.randperm(512).split(64):
            torch.nn.functional.cross_entropy(model(x[rows]), y[rows]).backward()
            optimizer.step()
            optimizer.zero_grad()
    return model, optimizer


def checkpoint(model, optimizer, step):
    """As Lightning lays it out."""
    return {"epoch": step, "global_step": 8 * step, "state_dict": model.state_dict(),
            "optimizer_states": [optimizer.state_dict()], "lr_schedulers": [], "loops": {"fit": {"done": step}}}


def odd(model):
    w = model[1].weight.detach()
    return {"half": w.half(), "bfloat16": w.bfloat16(), "double": w.double(), "complex": torch.complex(w, -w),
            "int": (w * 1e6).int(), "bool": w > 0, "empty": torch.zeros(0, 5), "scalar": torch.tensor(2.5),
            "nan": w * float("nan"), "quantized": torch.quantize_per_tensor(w, 0.01, 3, torch.qint8),
            "sparse": (w * (w > 0.1)).to_sparse(), "size": torch.Size([1, 2]), "text": "ü", "number": 1 << 80}


def views(model):
    w = model[4].weight.detach()
    return {"tied": w, "again": w, "rows": w[3:90], "transposed": w.t(), "every": w[:, ::2], "parameter": model[1].weight}


def files(folder, step):
    model, optimizer = trained(step)
    os.makedirs(folder, exist_ok=True)
    path = lambda name: os.path.join(folder, name)
    torch.save(model.state_dict(), path("pytorch_model.bin"))
    torch.save(optimizer.state_dict(), path("optimizer.pt"))
    with open(path("object.ckpt"), "wb") as f:
        torch.save(checkpoint(model, optimizer, step), f)
    torch.save(checkpoint(model, optimizer, step), path("legacy.pth"), _use_new_zipfile_serialization=False)
    torch.save(views(model), path("views.pt"))
    torch.save(odd(model), path("odd.pt"))
    try:
        from torch.utils.serialization import config
    except ImportError:
        print("torch %s cannot set the alignment nor leave out checksums" % torch.__version__)
        return
    with config.patch({"save.storage_alignment": 4096}):
        torch.save(model.state_dict(), path("aligned.pt"))
    with config.patch({"save.compute_crc32": False}):
        torch.save(model.state_dict(), path("unsummed.pt"))


def dcp(folder, step):
    import torch.distributed.checkpoint as cp
    model, optimizer = trained(step)
    names = [n for n, _ in model.named_parameters()]
    state = {"model." + n: p.detach() for n, p in model.named_parameters()}
    for i, s in optimizer.state_dict()["state"].items():
        state.update({"optim.state.%s.%s" % (names[i], k): v for k, v in s.items()})
    state["epoch"] = torch.tensor(step)
    os.makedirs(folder, exist_ok=True)
    writer = cp.FileSystemWriter(folder)
    if hasattr(cp, "save") and "no_dist" in inspect.signature(cp.save).parameters:
        cp.save(state, storage_writer=writer, no_dist=True)
    else:
        cp.save_state_dict(state, writer, no_dist=True)


def mapped(folder, step):
    path = os.path.join(folder, "model.safetensors")
    new = {k: v.contiguous() for k, v in trained(step)[0].state_dict().items()}
    if not os.path.exists(path):
        safetensors.torch.save_file(new, path)
        return
    before = safetensors.torch.load_file(path)
    copies = {k: v.clone() for k, v in before.items()}
    with safetensors.safe_open(path, "pt") as f:
        lazy = {k: f.get_tensor(k) for k in f.keys()}
        safetensors.torch.save_file(new, path)
        for k in f.keys():
            assert torch.equal(f.get_tensor(k), copies[k]), "%s changed under safe_open" % k
    after = safetensors.torch.load_file(path)
    for k, v in copies.items():
        assert torch.equal(before[k], v) and torch.equal(lazy[k], v), "%s changed in its mapping" % k
        assert torch.equal(after[k], new[k]), "%s is not what was saved" % k


def last(folder, step):
    path = os.path.join(folder, "last.ckpt")
    os.makedirs(folder, exist_ok=True)
    if step > 1:
        assert torch.load(path)["epoch"] == step - 1, "last.ckpt is not of the epoch before"
    model, optimizer = trained(step)
    for name in (path, os.path.join(folder, "epoch=%d.ckpt" % step)):
        with open(name, "wb") as f:
            torch.save(checkpoint(model, optimizer, step), f)
            f.flush()
            os.fsync(f.fileno())
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        os.fsync(fd)
        os.close(fd)
    if step > 1:
        os.remove(os.path.join(folder, "epoch=%d.ckpt" % (step - 1)))


if __name__ == "__main__":
    action, folder = sys.argv[1:3]
    for step in map(int, sys.argv[3:]):
        where = os.path.join(folder, "step-%d" % step) if action in ("files", "dcp") else folder
        {"files": files, "dcp": dcp, "mapped": mapped, "last": last}[action](where, step)
