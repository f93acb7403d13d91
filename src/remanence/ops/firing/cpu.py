"""The firing of neurons on CPUs: kernels compiled by LLVM, several samples in a vector."""

import numpy as np
import torch
from torch import Tensor

from remanence._kernels.buffers import allocate
from remanence._kernels.kernel_source import KernelSource
from remanence._kernels.launch import count_parts, launch, vector_width
from remanence.ops.firing import cpu_source
from remanence.ops.firing.firing_schedule import Schedule
from remanence.ops.scan.trace import TracedStep


def forward(
    schedule: Schedule, function: TracedStep, drive: Tensor, state: Tensor, weight: Tensor, *anew: Tensor
) -> tuple[Tensor, Tensor]:
    """Compute the values before the first firing and after each, [neurons, firings + 1, batch], and f's arguments.

    Args:
        schedule: the order of firing and the nonlinearity.
        function: the traced nonlinearity.
        drive: sum of inputs and bias, [neurons, time, batch].
        state: values before the first step, [neurons, batch].
        weight: weight of each edge, [edges], or a matrix [receivers, senders].
        anew: where samples are reset, [time, batch], and to which values, [neurons, batch]; or nothing.
    """
    neurons, time, batch = drive.shape
    steps = time * schedule.ticks
    values = allocate(neurons, steps + 1, batch, dtype=drive.dtype)
    before = allocate(neurons, steps, batch, dtype=drive.dtype)
    values[:, 0] = state
    _sweep(schedule, function, weight, drive, (drive.contiguous(), values, before), anew, back=False)
    return values, before


def backward(
    schedule: Schedule, function: TracedStep, above: Tensor, before: Tensor, weight: Tensor, *reset: Tensor
) -> Tensor:
    """Compute the gradients of f's arguments in every firing, from those of the values after each time step."""
    grads = allocate(*before.shape, dtype=before.dtype)
    _sweep(schedule, function, weight, above, (above.contiguous(), grads, before), reset, back=True)
    return grads


def weight_gradient(schedule: Schedule, weight: Tensor, values: Tensor, grads: Tensor) -> Tensor:
    """Compute the gradients of the weights from the values and the gradients of f's arguments in every firing."""
    if weight.ndim == 2:
        return schedule.weight_gradient(values, grads)
    neurons, steps, batch = grads.shape
    first, sender, new, _ = schedule.senders
    sums = torch.zeros(len(sender), dtype=grads.dtype)
    lists = (first, sender, new)
    launch(
        _WEIGH,
        grads.dtype,
        neurons,
        steps,
        batch,
        values,
        grads,
        *lists,
        sums,
        block_width=2 * vector_width(grads.dtype),
    )
    return sums


_WEIGH = cpu_source.weight_gradient()


def _sweep(
    schedule: Schedule,
    function: TracedStep,
    weight: Tensor,
    like: Tensor,
    own: tuple[Tensor, ...],
    anew: tuple[Tensor, ...],
    *,
    back: bool,
) -> None:
    """Launch the forward or the backward kernel, with its own tensors."""
    neurons, time, batch = like.shape
    order = schedule.order[::-1] if back else schedule.order
    rows = -(-neurons // cpu_source.ROWS) * cpu_source.ROWS
    dense = weight.ndim == 2
    lanes = _choose_block_width(batch, like.dtype, dense)
    units = -(-batch // lanes)
    keep = torch.tensor([schedule.keep], dtype=like.dtype)
    work = torch.empty(count_parts(units), rows + cpu_source.ROWS, lanes, dtype=like.dtype)
    if dense:
        graph = (_pack(weight.T if back else weight, order, rows),)
    else:
        first, other, _, edge = schedule.receivers if back else schedule.senders
        graph = (weight[edge], first, torch.from_numpy(np.argsort(order))[other])
    sizes, places = (neurons, time, schedule.ticks, batch), torch.from_numpy(np.resize(order, rows))
    source = _get_source(function, back, dense, bool(anew))
    renewed = (each.contiguous() for each in anew)
    launch(source, like.dtype, units, *sizes, places, keep, work, *own, *renewed, *graph, block_width=lanes)


def _get_source(function: TracedStep, back: bool, dense: bool, resets: bool) -> KernelSource:
    key = ("fastlane", back, dense, resets)
    if key not in function.kernels:
        write = cpu_source.backward if back else cpu_source.forward
        function.kernels[key] = write(function, dense=dense, resets=resets)
    return function.kernels[key]


def _choose_block_width(batch: int, dtype: torch.dtype, dense: bool) -> int:
    """Return how many samples are computed together: as many as still leave work for every thread."""
    one = vector_width(dtype)
    for lanes in (2 * one,) if dense else (4 * one, 2 * one):
        if batch > lanes * (torch.get_num_threads() - 1) and batch > lanes // 2:
            return lanes
    return one


def _pack(matrix: Tensor, order: np.ndarray, rows: int) -> Tensor:
    """Arrange weights in the order of firing, [blocks of receivers, senders, receivers of a block], padded with 0."""
    place = torch.from_numpy(order.copy())
    size = len(matrix)
    square = matrix.new_zeros(rows, rows)
    square[:size, :size] = matrix[place][:, place]
    return square.view(-1, cpu_source.ROWS, rows).transpose(1, 2).contiguous()
