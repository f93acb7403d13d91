"""Sequences cut into chunks of time, and decays within them."""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from remanence._kernels.addressing import are_readable


def cut(x: Tensor, chunks: int, steps: int) -> Tensor:
    """Cut [batch, time, writes, heads, ...] to [chunks, batch, heads, steps · writes, ...], padded with zeros."""
    missing = chunks * steps - x.shape[1]
    if missing:
        x = F.pad(x, [0, 0] * (x.ndim - 2) + [0, missing])
    return x.unflatten(1, (chunks, steps)).movedim((1, 4), (0, 2)).flatten(3, 4)


def join(y: Tensor, time: int) -> Tensor:
    """Return y [chunks, batch, heads, steps, ...] as [batch, time, heads, ...], without the padding."""
    return y.movedim((0, 2), (1, 3)).flatten(1, 2)[:, :time]


def add_reset(log_decay: Tensor, reset: Tensor | None) -> Tensor:
    """Return log α [batch, time, heads], minus infinity where a sample is reset."""
    return log_decay if reset is None else torch.where(reset[..., None], -math.inf, log_decay)


def find_decay(log_decay: Tensor) -> tuple[Tensor, Tensor]:
    """Return the decay [..., t, s] from the end of step s to that of t, for s <= t, and [..., t] from the start.

    The logarithm of each decay is the sum over exactly the steps that it spans, not a difference of two sums, so that
    small terms are not rounded away and minus infinity is exact.
    """
    steps = log_decay.shape[-1]
    is_later = torch.ones(steps, steps, dtype=torch.bool, device=log_decay.device).tril(-1)
    sums = torch.where(is_later, log_decay[..., None], 0).cumsum(-2)
    return sums.exp(), log_decay.cumsum(-1).exp()


def loses_steps(y: Tensor) -> bool:
    """Return whether an output that was computed in chunks may differ from that of a loop.

    In a chunk, a value that is not finite also reaches earlier steps, because 0 times infinity is NaN, and a huge value
    rounds small ones away in another order. On GPUs this is not checked, because the host would have to wait.
    """
    if y.device.type != "cpu" or not are_readable(y):
        return False
    return not bool((y.abs() < torch.finfo(y.dtype).eps ** -2).all())
