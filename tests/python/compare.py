#!/usr/bin/env python3
"""Compare the checkpoints of a mount with the independent implementation.

    compare.py CHAIN MOUNT REFERENCE ALPHA [STEPS]

REFERENCE is what excp_reference.py wrote, from the originals alone. For each step:

- the bytes before the data, integers, 1-D weights and everything else that has to be
  exact are the original's;
- one step of the reference, taken from the weights that the mount gave for the step
  before, keeps the same elements, and each tensor's squared error is at most 1.01 times
  that step's;
- up to the first difference (its base is exact, so both loops start from the same) all
  that holds against the independent loop itself. Later the loops drift apart: centres
  that differ in the last bits put other elements on the other side of a threshold, in
  either direction. There each file's squared error is at most 1.01 times the loop's, and
  each tensor's at most 1.05 times.
"""
import os
import sys

import numpy as np

import rawtensors
from excp_reference import Step, steps_of

FACTOR, DRIFT = 1.01, 1.05


def squared_error(x, y):
    return float(np.sum(np.square(x.astype(np.float64) - y.astype(np.float64))))


class Comparison:
    """One step; base: name -> the mount's weights of the step before."""

    def __init__(self, step, strict, base):
        self.step, self.strict, self.base = step, strict, base
        self.faults, self.step_worst, self.loop_worst = [], (0.0, ""), (0.0, "")
        self.differ = self.elements = 0

    def fault(self, text):
        self.faults.append("step %d: %s" % (self.step, text))

    def file(self, original, ours, loop, one):
        """loop: the independent loop's file; one: name -> elements of one step from our base."""
        if ours.head != original.head:
            self.fault("the header differs")
            return
        sums = np.zeros(2)
        for name in original.info:
            x, o, r = original.float32(name), ours.float32(name), loop.float32(name)
            if loop.raw(name) == original.raw(name):
                if ours.raw(name) != original.raw(name):
                    self.fault("%s has to be exact and is not" % name)
                continue
            errors = squared_error(x, o), squared_error(x, r), squared_error(x, one[name])
            sums += errors[:2]
            self.tensor(name, errors[0] / max(errors[1], 1e-300), errors[0] / max(errors[2], 1e-300))
            self.masks(name, o, r, one[name])
        if sums[0] > FACTOR * sums[1]:
            self.fault("squared error of a whole file is %.4f times the reference's" % (sums[0] / sums[1]))

    def tensor(self, name, loop, one):
        self.loop_worst, self.step_worst = max(self.loop_worst, (loop, name)), max(self.step_worst, (one, name))
        if loop > (FACTOR if self.strict else DRIFT):
            self.fault("squared error of %s is %.4f times the reference's" % (name, loop))
        if one > FACTOR:
            self.fault("squared error of %s is %.4f times that of one step of the reference" % (name, one))

    def masks(self, name, ours, loop, one):
        base = self.base.get(name, np.float32(0))
        n = int(np.sum((ours != base) != (loop != base)))
        self.differ, self.elements = self.differ + n, self.elements + ours.size
        if self.strict and n:
            self.fault("%s: %d elements are kept in one and dropped in the other" % (name, n))
        n = int(np.sum((ours != base) != (one != base)))
        if n:
            self.fault("%s: %d elements are kept that one step of the reference drops, or the reverse" % (name, n))


def compare(chain, mount, ref, step, previous, alpha, strict):
    """previous: our decoded weights of the step before, None at the first."""
    folder = "checkpoint-%d" % step
    open_in = lambda place, name: rawtensors.File(os.path.join(place, folder, name))
    one = Step(os.path.join(chain, folder), {n: previous.stored(n) for n in previous.info} if previous else None, alpha)
    c = Comparison(step, strict, {n: previous.float32(n) for n in previous.info} if previous else {})
    ours = open_in(mount, "model.safetensors")
    weights = {n: rawtensors.widen(x, one.model.info[n][0]) for n, x in one.weights.items()}
    c.file(one.model, ours, open_in(ref, "model.safetensors"), weights)
    if one.moments:
        states = {n: x.astype(np.float32) for n, x in one.states.items()}
        c.base = {}
        c.file(one.moments, open_in(mount, "optimizer.safetensors"), open_in(ref, "optimizer.safetensors"), states)
    print("step %d: largest squared error %.5f of one step of the reference (%s), %.4f of its loop (%s); "
          "%d of %d elements kept by one loop only" % (step, *c.step_worst, *c.loop_worst, c.differ, c.elements))
    return ours, c.faults


def main(chain, mount, ref, alpha, steps=""):
    previous, faults = None, []
    for i, step in enumerate([int(s) for s in steps.split(",") if s] or steps_of(chain)):
        previous, more = compare(chain, mount, ref, step, previous, float(alpha), i < 2)
        faults += more
    for f in faults[:40]:
        print(f)
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    if not 5 <= len(sys.argv) <= 6:
        sys.exit(__doc__)
    main(*sys.argv[1:])
