"""The firing of neurons on CPUs: kernels compiled by Numba, several samples in a vector."""

import functools
from array import array
from typing import Any

import numpy as np
import torch
from torch import Tensor

from remanence.nn.fastlane import cpu_source
from remanence.nn.fastlane.schedule import Schedule
from remanence.scan import kernel, threads
from remanence.scan.cpu import BITS
from remanence.scan.memory import allocate
from remanence.scan.numba_source import Source
from remanence.scan.trace import TracedStep


def forward(
    schedule: Schedule, function: TracedStep, drive: Tensor, state: Tensor, weight: Tensor
) -> tuple[Tensor, Tensor]:
    """Values before the first firing and after every one, [neurons, firings + 1, batch]; f's arguments in each."""
    neurons, time, batch = drive.shape
    steps = time * schedule.ticks
    values = allocate(neurons, steps + 1, batch, dtype=drive.dtype)
    before = allocate(neurons, steps, batch, dtype=drive.dtype)
    values[:, 0] = state
    tensors = {"drive": drive.contiguous(), "values": values, "before": before}
    _sweep(schedule, function, weight, drive, tensors, back=False)
    return values, before


def backward(schedule: Schedule, function: TracedStep, above: Tensor, before: Tensor, weight: Tensor) -> Tensor:
    """Gradients of f's arguments in every firing, from those of the values after each time step."""
    grads = allocate(*before.shape, dtype=before.dtype)
    _sweep(
        schedule, function, weight, above, {"above": above.contiguous(), "grads": grads, "before": before}, back=True
    )
    return grads


def of_weight(schedule: Schedule, weight: Tensor, values: Tensor, grads: Tensor) -> Tensor:
    """Gradients of the weights, from values and gradients of f's arguments in every firing."""
    if weight.ndim == 2:
        return schedule.of_weight(values, grads)
    neurons, steps, batch = grads.shape
    lanes = kernel.lane_count(BITS[grads.dtype])
    first, sender, new, _ = schedule.senders
    sums = torch.zeros(len(sender), lanes, dtype=grads.dtype)
    tensors = {"values": values, "grads": grads, "first": first, "sender": sender, "new": new, "sums": sums}
    _enter(cpu_source.weigh(), lanes, neurons, (steps, batch), tensors)
    return sums.sum(1)


def _sweep(
    schedule: Schedule, function: TracedStep, weight: Tensor, like: Tensor, tensors: dict[str, Tensor], *, back: bool
) -> None:
    neurons, time, batch = like.shape
    order = schedule.order[::-1] if back else schedule.order
    rows = -(-neurons // cpu_source.ROWS) * cpu_source.ROWS
    dense = weight.ndim == 2
    lanes = _lanes(batch, BITS[like.dtype], dense)
    if dense:
        tensors["weight"] = _packed(weight.T if back else weight, order, rows)
    else:
        tensors["first"], other, _, edge = schedule.receivers if back else schedule.senders
        tensors["heard"] = torch.from_numpy(np.argsort(order))[other]
        tensors["weight"] = weight[edge]
    units = -(-batch // lanes)
    tensors["order"] = torch.from_numpy(np.resize(order, rows))
    tensors["keep"] = torch.tensor([schedule.keep], dtype=like.dtype)
    tensors["work"] = torch.empty(min(torch.get_num_threads(), units), rows + cpu_source.ROWS, lanes, dtype=like.dtype)
    source = _source(function, back, dense)
    _enter(source, lanes, units, (neurons, time, schedule.ticks, batch), tensors)


def _source(function: TracedStep, back: bool, dense: bool) -> Source:
    key = ("fastlane", back, dense)
    if key not in function.kernels:
        write = cpu_source.backward if back else cpu_source.forward
        function.kernels[key] = write(function, dense=dense)
    return function.kernels[key]


def _lanes(batch: int, bits: int, dense: bool) -> int:
    """As many as every thread still gets some of: edges are looked up once for all lanes, blocks have sums for each."""
    register = kernel.lane_count(bits) // 2
    threads_but_one = torch.get_num_threads() - 1
    for lanes in (2 * register,) if dense else (4 * register, 2 * register):
        if batch > lanes * threads_but_one and batch > lanes // 2:
            return lanes
    return register


def _packed(matrix: Tensor, order: np.ndarray, rows: int) -> Tensor:
    """Weights in the order of firing, [blocks of receivers, senders, receivers of a block], filled up with 0."""
    place = torch.from_numpy(order.copy())
    size = len(matrix)
    square = matrix.new_zeros(rows, rows)
    square[:size, :size] = matrix[place][:, place]
    return square.view(-1, cpu_source.ROWS, rows).transpose(1, 2).contiguous()


@functools.cache
def _built(source: Source, bits: int, lanes: int) -> kernel.Kernel:
    return kernel.build(source, bits, lanes)


def _enter(source: Source, lanes: int, units: int, sizes: tuple[int, ...], tensors: dict[str, Any]) -> None:
    dtype = tensors["values" if "values" in tensors else "grads"].dtype
    parts = min(torch.get_num_threads(), units)
    addresses = [tensors[place.group].data_ptr() for place in source.places]
    packed = array("q", [0, parts, units, *sizes, *addresses])
    threads.run(_built(source, BITS[dtype], lanes), packed.buffer_info()[0], parts)
