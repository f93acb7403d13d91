"""Fast weights over time on CPUs: kernels compiled by LLVM, one sample after the other."""

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from remanence._kernels.buffers import allocate
from remanence._kernels.launch import count_parts, launch, vector_width
from remanence.ops.fast_weights import cpu_backward, cpu_forward
from remanence.ops.fast_weights.cpu_parts import COLUMNS
from remanence.ops.fast_weights.reference import Rule


class Kept(NamedTuple):
    """What the way back needs, in rows padded to whole registers.

    Attributes:
        u: what came out of the layer norm, [batch, time, S + 1, width].
        scale: what the layer norm multiplied with, [batch, time, S + 1].
        marks: A before every so many steps, [batch, segments, width, width].
    """

    u: Tensor
    scale: Tensor
    marks: Tensor


def forward(rule: Rule, drive: Tensor, h: Tensor, A: Tensor, *, keep: bool) -> tuple[Tensor, Tensor, Kept]:
    """Hidden states after each time step and A after the last, as :func:`reference.run` has them; A is symmetric.

    Args:
        rule: what happens in a step.
        drive: C x + b.
        h: before the first step.
        A: before the first step.
        keep: whether the way back will be gone.
    """
    batch, time, size = drive.shape
    dtype, width, every = drive.dtype, _width(drive), _segment(time)
    times, segments = (time, -(-time // every)) if keep else (1, 0)
    kept = Kept(
        allocate(batch, times, rule.inner_steps + 1, width, dtype=dtype),
        allocate(batch, times, rule.inner_steps + 1, dtype=dtype),
        allocate(batch, segments, width, width, dtype=dtype),
    )
    y, last = allocate(batch, time, size, dtype=dtype), _padded(A, 2, width)
    work = torch.zeros(count_parts(batch), 3 * width + vector_width(dtype), dtype=dtype)
    shared = _shared(rule, rule.weight_hh.T, kept, y, work, size, every if keep else 0)
    own = drive.contiguous(), _padded(h, 1, width), last
    launch(cpu_forward.forward(rule.gain is not None, rule.nonlinearity), dtype, batch, *shared, *own)
    return y, last[:, :size, :size].contiguous(), kept


def backward(
    rule: Rule, kept: Kept, y: Tensor, h: Tensor, of_y: Tensor | None, of_A: Tensor | None, *, rates: bool
) -> tuple[Tensor | None, ...]:
    """Gradients of W, gain, shift, λ, η, the drive and the first h, from those of y and of the last A.

    Args:
        rule: what happened in a step.
        kept: what :func:`forward` kept.
        y: the hidden states.
        h: before the first step.
        of_y: gradient of y.
        of_A: gradient of the last A.
        rates: whether those of λ and η are wanted.
    """
    batch, time, size = y.shape
    dtype, width, every, lanes = y.dtype, _width(y), _segment(time), vector_width(y.dtype)
    of_y = torch.zeros_like(y) if of_y is None else of_y.contiguous()
    G = y.new_zeros(batch, width, width) if of_A is None else _padded(of_A + of_A.mT, 2, width)
    of_h, of_drive = y.new_zeros(batch, width), allocate(batch, time, size, dtype=dtype)
    parts = count_parts(batch)
    sums = torch.zeros(parts, 2 * width + 2 * lanes, dtype=dtype)
    rows = 2 * rule.inner_steps + 5 + every * width
    work = torch.zeros(parts, rows * width + 2 * lanes, dtype=dtype)
    shared = _shared(rule, rule.weight_hh, kept, y, work, size, every)
    source = cpu_backward.backward(rule.gain is not None, rule.nonlinearity, rates)
    launch(source, dtype, batch, *shared, of_y, of_h, G, of_drive, sums)
    before = torch.cat([h[:, None], y[:, :-1]], 1)
    of_weight = of_drive.flatten(0, 1).T @ before.flatten(0, 1)
    total = sums.sum(0)
    of_rate, of_decay = (total[2 * width + k * lanes] / 2 for k in range(2))
    of_norm = (None, None) if rule.gain is None else (total[:size], total[width : width + size])
    return of_weight, *of_norm, of_decay, of_rate, of_drive, of_h[:, :size]


def _segment(time: int) -> int:
    """Steps from one A that is kept to the next: those that are kept, and those made again, are as many."""
    return math.isqrt(time - 1) + 1


def _width(x: Tensor) -> int:
    step = max(vector_width(x.dtype), COLUMNS)
    return -(-x.shape[-1] // step) * step


def _padded(x: Tensor, axes: int, width: int) -> Tensor:
    """A copy, its last axes filled up with zeros."""
    return (
        F.pad(x, (0, width - x.shape[-1]) * axes).contiguous()
        if x.shape[-1] < width
        else x.clone(memory_format=torch.contiguous_format)
    )


def _shared(
    rule: Rule, matrix: Tensor, kept: Kept, y: Tensor, work: Tensor, size: int, every: int
) -> tuple[Tensor | int, ...]:
    """The arguments that both kernels have in common."""
    _, time, _ = y.shape
    width, item = kept.u.shape[-1], y.itemsize
    gain = y.new_ones(size) if rule.gain is None else rule.gain
    shift = y.new_zeros(size) if rule.shift is None else rule.shift
    numbers = torch.tensor([float(rule.decay), float(rule.rate), 1 / size, rule.eps], dtype=y.dtype)
    step = kept.u.stride(1) * item if kept.u.shape[1] > 1 or time == 1 else 0
    weights = _padded(matrix, 2, width), _padded(gain, 1, width), _padded(shift, 1, width), numbers
    rows = kept.u, kept.u.stride(0) * item, step, kept.scale, kept.marks
    return (size, width // vector_width(y.dtype), time, rule.inner_steps, every, *weights, *rows, y, work)
