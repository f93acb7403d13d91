"""A call that compiled code contains as one node, so that ``torch.compile`` neither breaks its graph nor unrolls time.

The node is a custom operator. When compiled code reaches it, the call runs eagerly, with the kernels that it has, and
autograd records it; the node of the backward pass differentiates that record. The record belongs to a ticket, a tensor
that compiled code saves for its backward pass, and is freed with it.
"""

import itertools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any, Protocol, TypeAlias
from weakref import WeakValueDictionary

import numpy as np
import torch
from torch import Tensor

from remanence._torch import disable_modes, restore_dispatch
from remanence.errors import UserError
from remanence.ops import autocast

Description: TypeAlias = tuple[Sequence[int], torch.dtype]
"""Shape and dtype of a tensor."""


class OpaqueCall(Protocol):
    """The function that a node runs: it takes tensors, and names that say what the tensors are."""

    def run_flat(self, tensors: Sequence[Tensor], names: str) -> list[Tensor]:
        """Return the results."""
        ...

    def describe_flat(self, tensors: Sequence[Tensor], names: str, autocast_dtype: str) -> list[Description]:
        """Return shape and dtype of the results, given tensors without values."""
        ...


_CALLS: WeakValueDictionary[int, Any] = WeakValueDictionary()
_RECORDS: WeakValueDictionary[int, "_Record"] = WeakValueDictionary()
_NUMBERS = itertools.count()


def register(call: OpaqueCall) -> int:
    """Return the number by which compiled code finds a call, for as long as the call exists."""
    number = next(_NUMBERS)
    _CALLS[number] = call
    return number


def is_in_torch_compile() -> bool:
    """Return whether ``torch.compile`` traces the caller; not ``torch.export``, whose graph needs loops."""
    return torch.compiler.is_compiling() and not torch.compiler.is_exporting() and not _is_trying


_is_trying = False


@contextmanager
def try_eagerly() -> Iterator[None]:
    """Run code on real tensors during compilation, to find out what it returns."""
    global _is_trying
    _is_trying = True
    try:
        with disable_modes(), restore_dispatch(), torch.no_grad():
            yield
    finally:
        _is_trying = False


def call(number: int, tensors: Sequence[Tensor], names: str = "") -> list[Tensor]:
    """Run a registered call as one node of the graph that is being compiled.

    Args:
        number: number of the call, from :func:`register`.
        tensors: arguments of the call, at least one.
        names: what the tensors are; default: an empty string.

    Returns:
        The results of the call.
    """
    device = tensors[0].device
    asked = torch.is_grad_enabled()
    needs = [asked and tensor.requires_grad for tensor in tensors]
    dtype = str(torch.get_autocast_dtype(device.type)).partition(".")[2] if autocast.is_enabled(device) else ""
    return torch.ops.remanence.call(list(tensors), number, names, needs, dtype)[:-1]


class _Record(np.ndarray):
    """A record and its number. It is the memory of a ticket, so that record and ticket are freed together."""

    leaves: list[Tensor]
    results: list[Tensor]


@torch.library.custom_op("remanence::call", mutates_args=())
def _call(tensors: list[Tensor], number: int, names: str, needs: list[bool], autocast_dtype: str) -> list[Tensor]:
    device = tensors[0].device.type
    casts = torch.autocast(device, getattr(torch, autocast_dtype)) if autocast_dtype else nullcontext()
    if not any(needs):
        with restore_dispatch(), casts, torch.no_grad():
            results = _CALLS[number].run_flat(tensors, names)
        return [*_separate(results, tensors), torch.empty(1, dtype=torch.int64)]
    with restore_dispatch(), casts, torch.enable_grad():
        leaves = [tensor.detach().requires_grad_(need) for tensor, need in zip(tensors, needs, strict=True)]
        results = _CALLS[number].run_flat(leaves, names)
    record = np.array([next(_NUMBERS)]).view(_Record)
    record.leaves, record.results = [leaf for leaf in leaves if leaf.requires_grad], results
    _RECORDS[int(record[0])] = record
    return [*_separate(results, tensors), torch.from_numpy(record)]


@_call.register_fake
def _describe(tensors: list[Tensor], number: int, names: str, needs: list[bool], autocast_dtype: str) -> list[Tensor]:
    described = _CALLS[number].describe_flat(tensors, names, autocast_dtype)
    empty = [tensors[0].new_empty(shape, dtype=dtype) for shape, dtype in described]
    return [*empty, torch.empty(1, dtype=torch.int64)]


@torch.library.custom_op("remanence::call_backward", mutates_args=())
def _differentiate(ticket: Tensor, grads: list[Tensor], inputs: list[Tensor]) -> list[Tensor]:
    record = _RECORDS[int(ticket)]
    pairs = [(result, grad) for result, grad in zip(record.results, grads, strict=True) if result.requires_grad]
    results, above = [result for result, _ in pairs], [grad for _, grad in pairs]
    found: Sequence[Tensor | None] = [None] * len(record.leaves)
    if pairs:
        with restore_dispatch():
            found = torch.autograd.grad(results, record.leaves, above, allow_unused=True, retain_graph=True)
    filled = [torch.zeros_like(leaf) if grad is None else grad for grad, leaf in zip(found, record.leaves, strict=True)]
    return _separate(filled, grads)


@_differentiate.register_fake
def _describe_gradients(ticket: Tensor, grads: list[Tensor], inputs: list[Tensor]) -> list[Tensor]:
    return [tensor.new_empty(tensor.shape) for tensor in inputs]


def _save(ctx: Any, inputs: tuple[Any, ...], output: list[Tensor]) -> None:
    tensors, _, _, needs, _ = inputs
    *results, ticket = output
    ctx.needs, ctx.described = needs, [(result.shape, result.dtype) for result in results]
    ctx.save_for_backward(ticket, *(tensor for tensor, need in zip(tensors, needs, strict=True) if need))


def _backward(ctx: Any, grads: list[Tensor | None]) -> tuple[Any, ...]:
    ticket, *inputs = ctx.saved_tensors
    above = [
        inputs[0].new_zeros(shape, dtype=dtype) if grad is None else grad
        for grad, (shape, dtype) in zip(grads[:-1], ctx.described, strict=True)
    ]
    found = iter(torch.ops.remanence.call_backward(ticket, above, inputs))
    return [next(found) if need else None for need in ctx.needs], None, None, None, None


def _refuse_second_derivative(ctx: Any, *above: Any) -> Any:
    raise UserError(
        "compiled code has no second derivatives (torch.compile has none either, but with backend='eager'): "
        "differentiate twice without torch.compile"
    )


_call.register_autograd(_backward, setup_context=_save)
_differentiate.register_autograd(_refuse_second_derivative)


def _separate(results: Sequence[Tensor], given: Sequence[Tensor]) -> list[Tensor]:
    """Return results that are contiguous and share no memory with each other or with the arguments."""
    taken = {tensor.untyped_storage().data_ptr() for tensor in given}
    separate = []
    for result in results:
        own = result.detach().contiguous()
        if own.untyped_storage().data_ptr() in taken:
            own = own.clone()
        taken.add(own.untyped_storage().data_ptr())
        separate.append(own)
    return separate
