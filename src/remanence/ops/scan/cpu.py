"""The scan on CPUs: loops compiled by LLVM, in vector registers, on several threads."""

import functools
from array import array
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from remanence._kernels import kernel, threads
from remanence._kernels.buffers import allocate
from remanence._kernels.launch import BITS
from remanence.ops.scan import cpu_source
from remanence.ops.scan.cpu_source import PlacedSource
from remanence.ops.scan.layout import INPUTS, Gradients, Group, Optionals, Tensors, unbind_group
from remanence.ops.scan.trace import TracedStep


def refuses(traced: TracedStep, like: Tensor) -> str | None:
    """Return why this backend cannot run this step on tensors like this one, or None."""
    if like.device.type != "cpu":
        return f"it runs on the CPU, and the tensors are on {like.device}"
    if like.dtype not in BITS:
        return f"it computes in float32 and float64, and the tensors are {like.dtype}"
    return None


def forward(traced: TracedStep, inputs: Tensors, state: Tensors, params: Group) -> Tensors:
    """Compute the states after every step, [batch, time, channels] each, contiguous."""
    work = _Work.from_input(inputs[0])
    states = tuple(allocate(*work.shape, dtype=work.dtype) for _ in state)
    _run(_compile(traced, None), work, {"x": inputs, "h": state, "p": _make_contiguous(params), "y": states})
    return states


def backward(
    traced: TracedStep,
    needs: Sequence[bool],
    primals: tuple[Tensors, Tensors, Group],
    states: Tensors,
    grad_states: Sequence[Tensor | None],
    grad_final: Sequence[Tensor | None],
) -> Gradients:
    """Compute the gradients of states, inputs and params."""
    inputs, state, params = primals
    work = _Work.from_input(inputs[0])
    first, last = len(state), len(state) + len(inputs)
    needs = (*(True for _ in state), *needs[first:])
    needed = [i for i, need in enumerate(needs[last:]) if need]
    batch, _, channels = work.shape
    of_state = tuple([allocate(batch, channels, dtype=work.dtype) for _ in state])
    of_inputs = _allocate_input_gradients(inputs, needs[first:last], work)
    sums = torch.zeros(len(needed), work.parts * channels, dtype=work.dtype)
    tensors = {"x": inputs, "h": state, "p": _make_contiguous(params), "y": states, "gy": grad_states, "g": grad_final}
    tensors |= {"dh": of_state, "dx": unbind_group(of_inputs, INPUTS), "dp": sums}
    _run(_compile(traced, needs), work, tensors)
    totals = sums.view(len(needed), work.parts, channels).sum(1) if work.parts > 1 else sums
    if all(needs[last:]):
        return Gradients(of_state, of_inputs, totals)
    rows = iter(totals.unbind(0))
    return Gradients(of_state, of_inputs, tuple(next(rows) if need else None for need in needs[last:]))


def source(traced: TracedStep, needs: Sequence[bool]) -> str:
    """Return the generated code of both directions, for people to read."""
    return f"{cpu_source.forward(traced).text}\n\n{cpu_source.backward(traced, needs).text}"


def _allocate_input_gradients(inputs: Tensors, needs: Sequence[bool], work: "_Work") -> Optionals | Tensor:
    """Allocate the gradients of inputs; in one tensor if the inputs are slices of one."""
    batch, time, channels = work.shape
    if len(inputs) > 1 and all(needs) and _are_adjacent(inputs, channels):
        return allocate(batch, time, len(inputs), channels, dtype=work.dtype)
    return tuple(allocate(*work.shape, dtype=work.dtype) if need else None for need in needs)


def _are_adjacent(tensors: Tensors, channels: int) -> bool:
    """Return whether the tensors are the slices, in order, of one contiguous tensor [batch, time, parts, channels]."""
    at, size, (_, time, _) = tensors[0].data_ptr(), channels * tensors[0].itemsize, tensors[0].shape
    strides = (time * len(tensors) * channels, len(tensors) * channels, 1)
    return all(x.data_ptr() == at + i * size and x.stride() == strides for i, x in enumerate(tensors))


class _Work(NamedTuple):
    """The size of the work, and the number of parts that it is divided into, each with its own sums of gradients."""

    shape: tuple[int, int, int]
    dtype: torch.dtype
    blocks: int
    parts: int

    @classmethod
    def from_input(cls, x: Tensor) -> "_Work":
        batch, time, channels = x.shape
        blocks = -(-channels // _block_width(BITS[x.dtype]))
        return cls((batch, time, channels), x.dtype, blocks, min(torch.get_num_threads(), batch * blocks))


def _block_width(bits: int) -> int:
    """Return how many channels are computed together: two registers, so that one hides the latency of the other."""
    return 2 * kernel.vector_width(bits)


def _compile(traced: TracedStep, needs: tuple[bool, ...] | None) -> tuple[PlacedSource, kernel.Kernel]:
    """Compile the forward kernel, or the backward kernel for the gradients that are needed, once for each trace."""
    key = ("cpu", needs)
    found = traced.kernels.get(key)
    if found is None:
        text = cpu_source.forward(traced) if needs is None else cpu_source.backward(traced, needs)
        found = traced.kernels[key] = text, _build(text, BITS[traced.dtype])
    return found


@functools.lru_cache(maxsize=256)
def _build(source: PlacedSource, bits: int) -> kernel.Kernel:
    """Build a kernel, or return that of an equal trace: a step that is traced in every call is compiled once."""
    return kernel.build(source, bits, _block_width(bits))


def _run(
    compiled: tuple[PlacedSource, kernel.Kernel], work: _Work, tensors: Mapping[str, Sequence[Tensor | None] | Tensor]
) -> None:
    """Run a kernel; a group of tensors may be the rows of one contiguous tensor."""
    source, code = compiled
    batch, time, channels = work.shape
    block = [0, work.parts, batch * work.blocks, work.blocks, time, channels]
    size = work.dtype.itemsize
    rows = {name: (g.data_ptr(), g.stride(0) * size) for name, g in tensors.items() if isinstance(g, Tensor)}
    copies = []
    for place in source.places:
        if place.group in rows:
            at, row = rows[place.group]
            block.append(at + place.index * row)
            continue
        tensor = tensors[place.group][place.index]
        if tensor is None:
            tensor = _zeros(channels, work.dtype)
        strides = tensor.stride()
        if strides[-1] != 1 and channels != 1:
            tensor = _with_unit_stride(tensor)
            copies.append(tensor)
            strides = tensor.stride()
        block.append(tensor.data_ptr())
        if place.strides:
            block.extend([stride * size for stride in strides[: place.strides]])
    packed = array("q", block)
    threads.run(code, packed.buffer_info()[0], work.parts)


def _make_contiguous(params: Group) -> Group:
    return params.contiguous() if isinstance(params, Tensor) else params


@functools.lru_cache(maxsize=16)
def _zeros(channels: int, dtype: torch.dtype) -> Tensor:
    """Return zeros that replace a gradient that is None."""
    return torch.zeros(channels, dtype=dtype).expand(2, 2, channels)


_SMALL = 4096
"""Up to so many numbers a copy of all takes less time than the operations that would avoid it."""


def _with_unit_stride(tensor: Tensor) -> Tensor:
    """Copy a tensor so that neighbouring channels are adjacent in memory; expanded dimensions of a large one remain."""
    if tensor.numel() <= _SMALL:
        return tensor.contiguous()
    once = tensor[tuple(slice(0, 1) if stride == 0 else slice(None) for stride in tensor.stride()[:-1])]
    return once.contiguous().expand(tensor.shape)
