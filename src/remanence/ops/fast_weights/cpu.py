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


class Residuals(NamedTuple):
    """The values that the backward pass needs, in rows padded to whole registers.

    Attributes:
        u: the results of the layer norm, [batch, time, S + 1, width].
        scale: the factors of the layer norm, [batch, time, S + 1].
        marks: A before each segment of time steps, [batch, segments, width, width].
    """

    u: Tensor
    scale: Tensor
    marks: Tensor


def forward(
    rule: Rule,
    drive: Tensor,
    h: Tensor,
    A: Tensor,
    reset: Tensor | None = None,
    lengths: Tensor | None = None,
    *,
    save_residuals: bool,
) -> tuple[Tensor, Tensor, Residuals]:
    """Compute the hidden states after each time step and A after the last, as :func:`reference.run`; A is symmetric.

    Args:
        rule: the update of a time step.
        drive: C x + b, [batch, time, hidden].
        h: hidden state before the first step, [batch, hidden].
        A: A before the first step, [batch, hidden, hidden].
        reset: where h and A are set to 0 before a step, [batch, time], int64; default: nowhere.
        lengths: number of steps of each sample, [batch], int64, needed with ``reset``; y is 0 after them.
        save_residuals: whether a backward pass will follow.
    """
    batch, time, size = drive.shape
    dtype, width, every = drive.dtype, _round_up_width(drive), _segment_length(time)
    times, segments = (time, -(-time // every)) if save_residuals else (1, 0)
    residuals = Residuals(
        allocate(batch, times, rule.inner_steps + 1, width, dtype=dtype),
        allocate(batch, times, rule.inner_steps + 1, dtype=dtype),
        allocate(batch, segments, width, width, dtype=dtype),
    )
    y, last = _allocate_steps(drive, lengths), _pad(A, 2, width)
    work = torch.zeros(count_parts(batch), 3 * width + vector_width(dtype), dtype=dtype)
    shared = _list_shared_arguments(rule, rule.weight_hh.T, residuals, y, work, size, every if save_residuals else 0)
    own = drive.contiguous(), _pad(h, 1, width), last
    source = cpu_forward.forward(rule.gain is not None, rule.nonlinearity, reset is not None)
    launch(source, dtype, batch, *shared, *own, *_list_episodes(reset, lengths))
    return y, last[:, :size, :size].contiguous(), residuals


def backward(
    rule: Rule,
    residuals: Residuals,
    y: Tensor,
    h: Tensor,
    of_y: Tensor | None,
    of_A: Tensor | None,
    reset: Tensor | None = None,
    lengths: Tensor | None = None,
    *,
    rates: bool,
) -> tuple[Tensor | None, ...]:
    """Compute the gradients of W, gain, shift, λ, η, the drive and the first h, from those of y and of the last A.

    Args:
        rule: the update of a time step.
        residuals: what :func:`forward` saved.
        y: hidden states after each time step, [batch, time, hidden].
        h: hidden state before the first step, [batch, hidden].
        of_y: gradient of y; None if there is none.
        of_A: gradient of the last A; None if there is none.
        reset: as in :func:`forward`; default: nowhere.
        lengths: as in :func:`forward`; needed with ``reset``.
        rates: whether the gradients of λ and η are needed.
    """
    batch, time, size = y.shape
    dtype, width, every, lanes = y.dtype, _round_up_width(y), _segment_length(time), vector_width(y.dtype)
    of_y = torch.zeros_like(y) if of_y is None else of_y.contiguous()
    G = y.new_zeros(batch, width, width) if of_A is None else _pad(of_A + of_A.mT, 2, width)
    of_h, of_drive = y.new_zeros(batch, width), _allocate_steps(y, lengths)
    parts = count_parts(batch)
    sums = torch.zeros(parts, 2 * width + 2 * lanes, dtype=dtype)
    rows = 2 * rule.inner_steps + 5 + every * width
    work = torch.zeros(parts, rows * width + 2 * lanes, dtype=dtype)
    shared = _list_shared_arguments(rule, rule.weight_hh, residuals, y, work, size, every)
    source = cpu_backward.backward(rule.gain is not None, rule.nonlinearity, rates, reset is not None)
    launch(source, dtype, batch, *shared, of_y, of_h, G, of_drive, sums, *_list_episodes(reset, lengths))
    before = torch.cat([h[:, None], y[:, :-1]], 1)
    if reset is not None:
        before = torch.where(reset[..., None] != 0, 0, before)
    of_weight = of_drive.flatten(0, 1).T @ before.flatten(0, 1)
    total = sums.sum(0)
    of_rate, of_decay = (total[2 * width + k * lanes] / 2 for k in range(2))
    of_norm = (None, None) if rule.gain is None else (total[:size], total[width : width + size])
    return of_weight, *of_norm, of_decay, of_rate, of_drive, of_h[:, :size]


def _allocate_steps(like: Tensor, lengths: Tensor | None) -> Tensor:
    """Allocate [batch, time, size]; 0 where a kernel that ends early writes nothing."""
    return allocate(*like.shape, dtype=like.dtype) if lengths is None else torch.zeros_like(like).contiguous()


def _list_episodes(reset: Tensor | None, lengths: Tensor | None) -> tuple[Tensor, ...]:
    """Return the arguments of kernels for samples that are reset and end early."""
    return tuple(each.contiguous() for each in (reset, lengths) if each is not None)


def _segment_length(time: int) -> int:
    """Return the steps from one saved A to the next: about as many are saved as are recomputed in a segment."""
    return math.isqrt(time - 1) + 1


def _round_up_width(x: Tensor) -> int:
    step = max(vector_width(x.dtype), COLUMNS)
    return -(-x.shape[-1] // step) * step


def _pad(x: Tensor, axes: int, width: int) -> Tensor:
    """Return a copy whose last axes are padded with zeros."""
    return (
        F.pad(x, (0, width - x.shape[-1]) * axes).contiguous()
        if x.shape[-1] < width
        else x.clone(memory_format=torch.contiguous_format)
    )


def _list_shared_arguments(
    rule: Rule, matrix: Tensor, residuals: Residuals, y: Tensor, work: Tensor, size: int, every: int
) -> tuple[Tensor | int, ...]:
    """Return the arguments that the forward and the backward kernel share."""
    _, time, _ = y.shape
    width, item = residuals.u.shape[-1], y.itemsize
    gain = y.new_ones(size) if rule.gain is None else rule.gain
    shift = y.new_zeros(size) if rule.shift is None else rule.shift
    numbers = torch.tensor([float(rule.decay), float(rule.rate), 1 / size, rule.eps], dtype=y.dtype)
    step = residuals.u.stride(1) * item if residuals.u.shape[1] > 1 or time == 1 else 0
    weights = _pad(matrix, 2, width), _pad(gain, 1, width), _pad(shift, 1, width), numbers
    rows = residuals.u, residuals.u.stride(0) * item, step, residuals.scale, residuals.marks
    return (size, width // vector_width(y.dtype), time, rule.inner_steps, every, *weights, *rows, y, work)
