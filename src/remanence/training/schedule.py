"""How the learning rate changes from step to step."""

import math

from remanence.runs.config import LRSchedule


def lr_factor(step: int, *, warmup: int, lr_schedule: LRSchedule, total: int) -> float:
    """Compute the factor, at most 1, by which the learning rate is multiplied::

        min(1, n / w) · d,    d = 1                                   (none)
                              d = √(w / max(n, w))                    (rsqrt)
                              d = (1 + cos π max(0, n - w) / (N - w)) / 2    (cosine)

    Args:
        step: optimiser steps taken before this one, n - 1.
        warmup: w, steps until the rate is whole.
        lr_schedule: how the rate decreases after them.
        total: N, steps in all.

    References:
        Vaswani et al., "Attention is all you need", 2017, section 5.3 (rsqrt). Loshchilov, Hutter, "SGDR", 2017,
        arXiv:1608.03983, equation 5 (cosine). Both with this warm-up in the code of the Long Range Arena, whose
        first step has n = 0.
    """
    n = step + 1
    rise = min(1.0, n / warmup) if warmup else 1.0
    if lr_schedule == "rsqrt":
        return rise * math.sqrt(warmup / max(n, warmup))
    if lr_schedule == "cosine":
        share = max(0, n - warmup) / max(1, total - warmup)
        return rise * (1 + math.cos(math.pi * min(1.0, share))) / 2
    return rise
