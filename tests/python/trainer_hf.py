#!/usr/bin/env python3
"""A run of the Hugging Face Trainer, as a user writes it: a tiny GPT-NeoX or Llama on the CPU.

    trainer_hf.py gpt_neox|llama OUTPUT [--resume] [--stop STEP FILE] [--kill STEP]

--stop: before STEP, says "at STEP" and goes on once FILE exists. --kill: dies by SIGKILL
before STEP. The last lines are the optimizer's numbers and names, the training loss of the last steps, and the held-out loss
of the best checkpoint, which is loaded at the end.
Everything is seeded; two runs give the same bytes but for times. GPT-NeoX's best checkpoint is
the last; Llama is judged by noise and its best is the first, so rotation takes those between.
"""
import argparse
import os
import signal
import time

import torch
import transformers
from transformers import (GPTNeoXConfig, GPTNeoXForCausalLM, LlamaConfig, LlamaForCausalLM, Trainer, TrainerCallback,
                          TrainingArguments)

STEPS, EVERY, VOCAB, LENGTH = 60, 10, 256, 32


def model_of(kind):
    shape = dict(vocab_size=VOCAB, hidden_size=64, num_hidden_layers=2, num_attention_heads=4, intermediate_size=128,
                 max_position_embeddings=LENGTH, use_cache=False)
    if kind == "llama":
        return LlamaForCausalLM(LlamaConfig(tie_word_embeddings=True, num_key_value_heads=4, **shape))
    return GPTNeoXForCausalLM(GPTNeoXConfig(**shape))


def sequences(n, seed, noise=False):
    """Token sequences; but for noise there is something to learn: each follows the last by one of four rules."""
    g = torch.Generator().manual_seed(seed)
    if noise:
        return [{"input_ids": x, "labels": x} for x in torch.randint(VOCAB, (n, LENGTH), generator=g)]
    rows = [torch.randint(VOCAB, (n,), generator=g)]
    for _ in range(LENGTH - 1):
        rows.append((rows[-1] * 5 + torch.randint(4, (n,), generator=g) ** 2 + 1) % VOCAB)
    return [{"input_ids": x, "labels": x} for x in torch.stack(rows, 1)]


class Moments(TrainerCallback):
    def __init__(self, stop, kill):
        self.stop, self.kill = stop, kill

    def on_step_begin(self, args, state, control, **kwargs):
        if self.stop and state.global_step == int(self.stop[0]):
            print("at %d" % state.global_step, flush=True)
            while not os.path.exists(self.stop[1]):
                time.sleep(0.02)
        if state.global_step == self.kill:
            os.kill(os.getpid(), signal.SIGKILL)


def main():
    p = argparse.ArgumentParser()
    p.add_argument("kind")
    p.add_argument("output")
    p.add_argument("--resume", action="store_true")
    p.add_argument("--stop", nargs=2)
    p.add_argument("--kill", type=int)
    a = p.parse_args()
    print("versions: transformers %s, torch %s" % (transformers.__version__, torch.__version__), flush=True)
    torch.set_num_threads(2)
    transformers.set_seed(1)
    args = TrainingArguments(
        output_dir=a.output, max_steps=STEPS, learning_rate=3e-3, lr_scheduler_type="cosine", weight_decay=0.01,
        per_device_train_batch_size=8, per_device_eval_batch_size=16, eval_strategy="steps", eval_steps=EVERY,
        save_strategy="steps", save_steps=EVERY, save_total_limit=2, load_best_model_at_end=True,
        metric_for_best_model="eval_loss", logging_steps=5, report_to="none", use_cpu=True, seed=1, disable_tqdm=True)
    trainer = Trainer(model=model_of(a.kind), args=args, train_dataset=sequences(160, 2),
                      eval_dataset=sequences(64, 3, a.kind == "llama"), callbacks=[Moments(a.stop, a.kill)])
    names = {id(p): n for n, p in trainer.model.named_parameters()}
    trainer.train(resume_from_checkpoint=True if a.resume else None)
    trainer.save_model()
    for i, p in enumerate(p for g in trainer.optimizer.param_groups for p in g["params"]):
        print("parameter %d %s" % (i, names[id(p)]))
    print("train_loss %.9f" % [float(h["loss"]) for h in trainer.state.log_history if "loss" in h][-1])
    print("eval_loss %.9f" % trainer.evaluate()["eval_loss"])


if __name__ == "__main__":
    main()
