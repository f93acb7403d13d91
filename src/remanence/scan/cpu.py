"""The scan on CPUs: loops compiled by Numba, in vector registers, over several threads."""

import ctypes
from collections.abc import Sequence

import torch
from torch import Tensor

from remanence.scan import kernel, numba_source, threads
from remanence.scan.numba_source import Source
from remanence.scan.trace import Tensors, TracedStep

BITS = {torch.float32: 32, torch.float64: 64}


def refuses(traced: TracedStep, like: Tensor) -> str | None:
    """Why this backend cannot run this step on tensors like this, or None."""
    if like.device.type != "cpu":
        return f"it runs on the CPU, and the tensors are on {like.device}"
    if like.dtype not in BITS:
        return f"it computes in float32 and float64, and the tensors are {like.dtype}"
    return None


def allocate(*shape: int, dtype: torch.dtype) -> Tensor:
    """Memory for a kernel to write into: every result passes here."""
    return torch.empty(shape, dtype=dtype)


def forward(traced: TracedStep, inputs: Tensors, state: Tensors, params: Tensors) -> Tensors:
    """States after every step, [batch, time, channels] each, contiguous."""
    source, code = _kernel(traced, None)
    batch, time, channels = inputs[0].shape
    states = tuple(allocate(batch, time, channels, dtype=traced.dtype) for _ in state)
    tensors = _named(x=inputs, h=state, p=params, y=states)
    _run(source, code, tensors, inputs[0].shape, _parts(batch, channels, traced.dtype))
    return states


def backward(
    traced: TracedStep,
    needs: Sequence[bool],
    primals: tuple[Tensors, Tensors, Tensors],
    states: Tensors,
    grad_states: Sequence[Tensor | None],
    grad_final: Sequence[Tensor | None],
) -> list[Tensor | None]:
    """Gradients of states, inputs and params, in this order."""
    inputs, state, params = primals
    needs = (*(True for _ in state), *needs[len(state) :])
    source, code = _kernel(traced, needs)
    batch, time, channels = inputs[0].shape
    parts = _parts(batch, channels, traced.dtype)
    zero = torch.zeros(1, 1, channels, dtype=traced.dtype).expand(batch, time, channels)
    of_state = [allocate(batch, channels, dtype=traced.dtype) for _ in state]
    of_inputs = [
        allocate(batch, time, channels, dtype=traced.dtype) if need else None
        for need in needs[len(state) : len(state) + len(inputs)]
    ]
    needed = [i for i, need in enumerate(needs[len(state) + len(inputs) :]) if need]
    of_parts = torch.zeros(len(needed), parts, channels, dtype=traced.dtype)
    of_params: list[Tensor | None] = [None] * len(params)
    for place, total in zip(needed, of_parts, strict=True):
        of_params[place] = total
    tensors = _named(x=inputs, h=state, p=params, y=states, dh=of_state, dx=of_inputs, dp=of_params)
    tensors |= _named(gy=[zero if g is None else g for g in grad_states])
    tensors |= _named(g=[zero[:, 0] if g is None else g for g in grad_final])
    _run(source, code, tensors, inputs[0].shape, parts)
    for place, total in zip(needed, of_parts.sum(1), strict=True):
        of_params[place] = total
    return [*of_state, *of_inputs, *of_params]


def source(traced: TracedStep, needs: Sequence[bool]) -> str:
    """The generated code, both directions, as a person reads it."""
    return f"{numba_source.forward(traced).text}\n\n{numba_source.backward(traced, needs).text}"


def _kernel(traced: TracedStep, needs: tuple[bool, ...] | None) -> tuple[Source, kernel.Kernel]:
    """Forwards, or back with the gradients that are needed; compiled at most once for a trace."""
    key = ("cpu", needs)
    if key not in traced.kernels:
        text = numba_source.forward(traced) if needs is None else numba_source.backward(traced, needs)
        traced.kernels[key] = text, kernel.build(text, BITS[traced.dtype])
    return traced.kernels[key]


def _parts(batch: int, channels: int, dtype: torch.dtype) -> int:
    """Into how many parts the work is cut: sums of gradients depend on it, so it depends on nothing but sizes."""
    return min(torch.get_num_threads(), batch * -(-channels // kernel.lane_count(BITS[dtype])))


def _named(**groups: Sequence[Tensor | None]) -> dict[str, Tensor]:
    return {f"{name}{i}": x for name, group in groups.items() for i, x in enumerate(group) if x is not None}


def _run(source: Source, code: kernel.Kernel, tensors: dict[str, Tensor], shape: torch.Size, parts: int) -> None:
    batch, time, channels = shape
    lanes = kernel.lane_count(8 * next(iter(tensors.values())).element_size())
    blocks = -(-channels // lanes)
    values = {"blocks": blocks, "time": time, "channels": channels}
    kept = []
    for name, tensor in tensors.items():
        if tensor.stride(-1) != 1 and tensor.shape[-1] != 1:
            tensor = tensor.contiguous()
        kept.append(tensor)
        values[f"{name}_at"] = tensor.data_ptr()
        values[f"{name}_sample"] = tensor.stride(0) * tensor.element_size()
        values[f"{name}_step"] = tensor.stride(1) * tensor.element_size() if tensor.ndim == 3 else 0
    passed = [values[name] for name in source.arguments[3:]]
    block = (ctypes.c_int64 * (3 + len(passed)))(0, parts, batch * blocks, *passed)
    threads.run(code, block, parts)
