"""The scan on GPUs: the traced step in a loop over time within one Triton kernel, forwards and backwards.

Arithmetic is in float64 for float64 and in float32 for all other dtypes. With bfloat16 and float16, therefore, a state
is rounded only where it is stored, not from step to step; the backward pass linearises each step at the stored state,
and ``checkpoint_every`` starts again from stored states.

Functions agree with PyTorch's to a few roundings; float32 numbers below 1e-38 may count as 0.

Gradients of parameters are summed over time within an element, then over the batch by PyTorch, without atomic
additions, so that the same call always gives the same bits.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from remanence._kernels import triton_support
from remanence._kernels.source_text import load_functions
from remanence.ops.scan.gpu_source import backward_source, forward_source
from remanence.ops.scan.layout import PARAMS, Gradients, Group, Tensors, unbind_group
from remanence.ops.scan.pointwise_graph import Graph
from remanence.ops.scan.trace import TracedStep

DTYPES = (torch.float32, torch.float64, torch.bfloat16, torch.float16)


def refuses(traced: TracedStep, like: Tensor) -> str | None:
    """Return why Triton cannot run this step on tensors like this one, or None."""
    return triton_support.refuses(like, DTYPES)


def forward(traced: TracedStep, inputs: Tensors, state: Tensors, params: Group) -> Tensors:
    """Compute the states after every step, [batch, time, channels] each."""
    kernel = _get_kernel(traced, ("forward",), lambda: (traced.forward, forward_source(traced.forward, traced.dtype)))
    states = tuple(_allocate(inputs[0].shape, s.dtype, s.device) for s in state)
    arguments = (
        _list_strided_arguments("input", inputs)
        | _contiguous_arguments("initial", state)
        | _contiguous_arguments("param", unbind_group(params, PARAMS))
    )
    kernel.launch(inputs[0], arguments | _contiguous_arguments("states", states))
    return states


def backward(
    traced: TracedStep,
    needs: Sequence[bool],
    primals: tuple[Tensors, Tensors, Group],
    states: Tensors,
    grad_states: Sequence[Tensor | None],
    grad_final: Sequence[Tensor | None],
) -> Gradients:
    """Compute the gradients of states, inputs and params; None where not needed."""
    inputs, state, params = *primals[:2], unbind_group(primals[2], PARAMS)
    places = traced.split(needs)
    above, final = (tuple(grad is not None for grad in grads) for grads in (grad_states, grad_final))

    def source() -> tuple[Graph, str]:
        graph = traced.vjp(tuple(needs))
        return graph, backward_source(graph, traced.dtype, places, above, final)

    kernel = _get_kernel(traced, ("backward", tuple(needs), above, final), source)
    like = inputs[0]
    of_states, of_inputs = (
        [_allocate(x.shape, x.dtype, x.device) if need else None for x, need in zip(group, need_group, strict=True)]
        for group, need_group in zip((state, inputs), places, strict=False)
    )
    # All in one, so that one kernel sums them over the batch.
    real, (batch, _, channels) = torch.promote_types(like.dtype, torch.float32), like.shape
    by_element = _allocate((sum(places[2]), batch, channels), real, like.device)
    of_params = _unstack(places[2], by_element)
    kernel.launch(
        like,
        _list_strided_arguments("input", inputs)
        | _contiguous_arguments("initial", state)
        | _contiguous_arguments("param", params)
        | _contiguous_arguments("states", states)
        | _list_strided_arguments("above", grad_states)
        | _contiguous_arguments("final", grad_final)
        | _contiguous_arguments("d_state", of_states)
        | _contiguous_arguments("d_input", of_inputs)
        | _contiguous_arguments("d_param", of_params),
    )
    of_params = _unstack(places[2], by_element.sum(1).to(like.dtype))
    return Gradients(tuple(of_states), tuple(of_inputs), tuple(of_params))


def source(traced: TracedStep, needs: Sequence[bool]) -> str:
    """Return the generated Triton code of both directions; the backward one is for a loss of the states over time."""
    places = traced.split(needs)
    states = traced.counts[0]
    graph = traced.vjp(tuple(needs))
    ahead = forward_source(traced.forward, traced.dtype)
    return f"{ahead}\n\n{backward_source(graph, traced.dtype, places, [True] * states, [False] * states)}"


@dataclass(frozen=True)
class _Kernel:
    """A Triton kernel and how many steps it takes at once."""

    function: Any
    steps: int

    @cached_property
    def names(self) -> frozenset[str]:
        """Names of its arguments."""
        return frozenset(self.function.arg_names)

    def launch(self, like: Tensor, arguments: dict[str, Tensor | int]) -> None:
        """Run the kernel over all elements of sequences like this one, with those of the arguments that it takes."""
        batch, time, channels = like.shape
        elements = batch * channels
        # One warp a program spreads few elements over all multiprocessors, which hold at most 32 programs each.
        warps = 1 if elements <= 2**17 else 4
        width = 32 * warps
        taken = {name: value for name, value in arguments.items() if name in self.names}
        sizes = {"time": time, "channels": channels, "elements": elements, "LANES": width, "STEPS": self.steps}
        with torch.cuda.device_of(like):
            self.function[(-(-elements // width),)](**taken, **sizes, num_warps=warps)


def _get_kernel(traced: TracedStep, variant: tuple[Any, ...], write: Callable[[], tuple[Graph, str]]) -> _Kernel:
    """Return a variant of a kernel, built at first use; the first item of the variant is the name of the kernel."""
    interpreted = triton_support.is_interpreted()
    key = ("gpu", interpreted, *variant)
    if key not in traced.kernels:
        graph, text = write()
        traced.kernels[key] = _Kernel(load_functions(text, interpreted)[variant[0]], _choose_steps(graph))
    return traced.kernels[key]


def _choose_steps(graph: Graph) -> int:
    """Return how many steps a kernel takes at once: more for short steps, to keep enough reads in flight."""
    return min(8, -(-256 // max(1, graph.count_operations())))


def _allocate(shape: Sequence[int], dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return an uninitialized tensor, all of which a kernel will write."""
    return torch.empty(shape, dtype=dtype, device=device)


def _unstack(needs: Sequence[bool], tensors: Tensor) -> list[Tensor | None]:
    """Unbind a stack; None in the positions where no tensor is needed."""
    stacked = iter(tensors.unbind())
    return [next(stacked) if need else None for need in needs]


def _contiguous_arguments(name: str, tensors: Sequence[Tensor | None]) -> dict[str, Tensor | int]:
    """Return arguments for tensors; those that are not contiguous are copied."""
    return {f"{name}{index}_at": x.contiguous() for index, x in enumerate(tensors) if x is not None}


def _list_strided_arguments(name: str, tensors: Sequence[Tensor | None]) -> dict[str, Tensor | int]:
    """Return arguments for sequences with their strides; the stride of channels must be 1 or 0."""
    arguments: dict[str, Tensor | int] = {}
    for index, tensor in enumerate(tensors):
        if tensor is not None:
            readable = tensor if tensor.stride(2) in (0, 1) else tensor.contiguous()
            strides = zip(("at", "batch", "time", "channel"), (readable, *readable.stride()), strict=True)
            arguments |= {f"{name}{index}_{of}": value for of, value in strides}
    return arguments
