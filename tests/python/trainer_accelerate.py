#!/usr/bin/env python3
"""A training loop with accelerate that saves its state, as a user writes it.

    trainer_accelerate.py PROJECT FROM TO

Trains epochs FROM to TO on, each ended by save_state with automatic names of which two
are kept; FROM > 0 begins with load_state of the newest. The last line is the loss.
"""
import os
import sys

import accelerate
import torch
from accelerate.utils import ProjectConfiguration, set_seed


def main(project, first, last):
    print("versions: accelerate %s, torch %s" % (accelerate.__version__, torch.__version__))
    torch.set_num_threads(2)
    set_seed(1)
    # Names go on where the loaded state ended; save_state refuses a folder that exists.
    config = ProjectConfiguration(project, automatic_checkpoint_naming=True, total_limit=2, iteration=first)
    acc = accelerate.Accelerator(cpu=True, project_config=config)
    model = torch.nn.Sequential(torch.nn.Linear(96, 192), torch.nn.GELU(), torch.nn.LayerNorm(192), torch.nn.Linear(192, 96))
    x = torch.randn(256, 96)
    y = torch.tanh(x @ torch.randn(96, 96) / 10) + torch.randn(256, 96)
    data = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, y), batch_size=32, shuffle=True)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-4)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=40)
    model, optimizer, data, scheduler = acc.prepare(model, optimizer, data, scheduler)
    if first:
        acc.load_state(os.path.join(project, "checkpoints", "checkpoint_%d" % (first - 1)))
    for _ in range(first, last):
        for a, b in data:
            loss = torch.nn.functional.mse_loss(model(a), b)
            acc.backward(loss)
            optimizer.step()
            optimizer.zero_grad()
        scheduler.step()
        acc.save_state()
    with torch.no_grad():
        print("eval_loss %.9f" % torch.nn.functional.mse_loss(model(x), y))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
