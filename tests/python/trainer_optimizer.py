#!/usr/bin/env python3
"""Write the optimizer states of a chain of GPT-NeoX as the Hugging Face Trainer does.

    trainer_optimizer.py CHECKPOINT...

Reads optimizer.safetensors (exp_avg.NAME, exp_avg_sq.NAME, step.NAME) and writes
optimizer.pt beside it: the parameters are numbers, those with weight decay first, in the
order of the model's modules.
"""
import os
import re
import sys

import safetensors.torch
import torch

MODULES = ["embed_in", "input_layernorm", "post_attention_layernorm", "query_key_value", "attention.dense", "dense_h_to_4h",
           "dense_4h_to_h", "final_layer_norm", "embed_out"]


def place(name):
    layer = re.search(r"layers\.(\d+)\.", name)
    module = max(i for i, m in enumerate(MODULES) if m + "." in name)
    outside = -1 if module == 0 else int(layer.group(1)) if layer else 1 << 30
    return outside, module, name.endswith(".bias")


def main(folder):
    state = safetensors.torch.load_file(os.path.join(folder, "optimizer.safetensors"))
    names = sorted((k[len("step."):] for k in state if k.startswith("step.")), key=place)
    groups = [[n for n in names if state["exp_avg." + n].dim() > 1], [n for n in names if state["exp_avg." + n].dim() == 1]]
    ids, out = {}, {"state": {}, "param_groups": []}
    for group, decay in zip(groups, (0.1, 0.0)):
        ids.update({n: len(ids) + i for i, n in enumerate(group)})
        out["param_groups"].append({"lr": 1e-3, "betas": (0.9, 0.95), "eps": 1e-8, "weight_decay": decay, "amsgrad": False,
                                    "foreach": None, "maximize": False, "capturable": False, "params": [ids[n] for n in group]})
    for n in groups[0] + groups[1]:
        out["state"][ids[n]] = {k: state["%s.%s" % (k, n)].clone() for k in ("step", "exp_avg", "exp_avg_sq")}
    torch.save(out, os.path.join(folder, "optimizer.pt"))


if __name__ == "__main__":
    for folder in sys.argv[1:]:
        main(folder)
