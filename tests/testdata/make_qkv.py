#!/usr/bin/env python3
"""Train the small chain with q, k, v and o of one shape, testdata/chain/qkv.

    make_qkv.py CORPUS [DEST]

CORPUS is a text file (xz or plain) to predict byte by byte. The model is a Llama of
112,064 parameters with Hugging Face's names, in the order in which Hugging Face's
modules register them and no file records: self_attn, mlp, then the norms. lm_head is
tied and so in neither file. The optimizer has the two groups of the Hugging Face
Trainer. Each checkpoint-STEP has

  model.safetensors  weights, F32
  optimizer.pt       torch.save(optimizer.state_dict())

and truth.json the name of each of the optimizer's numbers. On the same machine and
PyTorch (made with Debian's 1.13.1) the same corpus gives the same bytes. It prints how
far neighbours differ.
"""
import json
import lzma
import math
import os
import struct
import sys

import torch
import torch.nn as nn
import torch.nn.functional as F

HIDDEN, HEADS, INTER, LAYERS, VOCAB = 64, 4, 80, 3, 256
SEQ, BATCH, LR, WARMUP = 64, 16, 2e-3, 40
STEPS = (300, 340, 400)


class RMSNorm(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(HIDDEN))

    def forward(self, x):
        return self.weight * x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6)


def linear(inner, outer):
    return nn.Linear(inner, outer, bias=False)


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.q_proj, self.k_proj = linear(HIDDEN, HIDDEN), linear(HIDDEN, HIDDEN)
        self.v_proj, self.o_proj = linear(HIDDEN, HIDDEN), linear(HIDDEN, HIDDEN)

    def forward(self, x, cos, sin, mask):
        b, t, c = x.shape
        q, k, v = (p(x).view(b, t, HEADS, c // HEADS).transpose(1, 2)
                   for p in (self.q_proj, self.k_proj, self.v_proj))
        w = rotate(q, cos, sin) @ rotate(k, cos, sin).transpose(-1, -2) / math.sqrt(c // HEADS)
        return self.o_proj((F.softmax(w + mask, -1) @ v).transpose(1, 2).reshape(b, t, c))


def rotate(x, cos, sin):
    a, b = x.chunk(2, -1)
    return x * cos + torch.cat((-b, a), -1) * sin


class MLP(nn.Module):
    def __init__(self):
        super().__init__()
        self.gate_proj, self.up_proj = linear(HIDDEN, INTER), linear(HIDDEN, INTER)
        self.down_proj = linear(INTER, HIDDEN)

    def forward(self, x):
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class Layer(nn.Module):
    def __init__(self):
        super().__init__()
        self.self_attn, self.mlp = Attention(), MLP()
        self.input_layernorm, self.post_attention_layernorm = RMSNorm(), RMSNorm()

    def forward(self, x, *pos):
        x = x + self.self_attn(self.input_layernorm(x), *pos)
        return x + self.mlp(self.post_attention_layernorm(x))


class Llama(nn.Module):
    def __init__(self):
        super().__init__()
        self.model = nn.Module()
        self.model.embed_tokens = nn.Embedding(VOCAB, HIDDEN)
        self.model.layers = nn.ModuleList(Layer() for _ in range(LAYERS))
        self.model.norm = RMSNorm()
        for p in self.parameters():
            if p.dim() > 1:
                nn.init.normal_(p, std=0.05)
        half = HIDDEN // HEADS // 2
        angle = torch.outer(torch.arange(SEQ).float(), 1e4 ** (-torch.arange(half).float() / half))
        angle = torch.cat((angle, angle), -1)
        self.pos = angle.cos(), angle.sin(), torch.full((SEQ, SEQ), -math.inf).triu(1)

    def forward(self, ids):
        x = self.model.embed_tokens(ids)
        for layer in self.model.layers:
            x = layer(x, *self.pos)
        return self.model.norm(x) @ self.model.embed_tokens.weight.T


def write_safetensors(path, tensors):
    header, at = {"__metadata__": {"format": "pt"}}, 0
    for name, t in tensors:
        header[name] = {"dtype": "F32", "shape": list(t.shape), "data_offsets": [at, at + 4 * t.numel()]}
        at += 4 * t.numel()
    head = json.dumps(header, separators=(",", ":")).encode()
    head += b" " * (-len(head) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(head)) + head)
        for _, t in tensors:
            f.write(struct.pack("<%df" % t.numel(), *t.flatten().tolist()))


def train(text, save):
    torch.manual_seed(1)
    model = Llama()
    named = dict(model.named_parameters())
    decayed = [n for n in named if "norm" not in n]
    rest = [n for n in named if "norm" in n]
    opt = torch.optim.AdamW([{"params": [named[n] for n in decayed], "weight_decay": 0.1},
                             {"params": [named[n] for n in rest], "weight_decay": 0.0}], lr=LR)
    warm = torch.optim.lr_scheduler.LambdaLR(opt, lambda step: min(1, (step + 1) / WARMUP))
    data = torch.frombuffer(bytearray(text), dtype=torch.uint8).long()
    for step in range(1, STEPS[-1] + 1):
        at = torch.randint(0, len(data) - SEQ - 1, (BATCH,))
        window = torch.stack([data[i:i + SEQ + 1] for i in at])
        loss = F.cross_entropy(model(window[:, :-1]).flatten(0, 1), window[:, 1:].flatten())
        opt.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(named.values(), 1.0)
        opt.step()
        warm.step()
        if step in STEPS:
            save(step, loss.item(), named, opt, decayed + rest)


def main(corpus, dest):
    with (lzma.open if corpus.endswith(".xz") else open)(corpus, "rb") as f:
        text = f.read()
    last = {}

    def save(step, loss, named, opt, order):
        folder = os.path.join(dest, "checkpoint-%d" % step)
        os.makedirs(folder, exist_ok=True)
        now = {n: p.detach().clone() for n, p in named.items()}
        write_safetensors(os.path.join(folder, "model.safetensors"), sorted(now.items()))
        torch.save(opt.state_dict(), os.path.join(folder, "optimizer.pt"))
        with open(os.path.join(dest, "truth.json"), "w") as f:
            json.dump({i: n for i, n in enumerate(order)}, f, indent=1)
            f.write("\n")
        change = sorted(float((now[n] - last[n]).norm() / now[n].norm()) for n in last if now[n].dim() > 1)
        print("step %d: loss %.3f, change of the matrices %s" % (step, loss, ["%.3f" % c for c in change]))
        last.update(now)

    train(text, save)


if __name__ == "__main__":
    if not 2 <= len(sys.argv) <= 3:
        sys.exit(__doc__)
    main(sys.argv[1], sys.argv[2] if len(sys.argv) == 3
         else os.path.join(os.path.dirname(os.path.abspath(__file__)), "chain", "qkv"))
