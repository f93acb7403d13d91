"""Decides whether a kernel may read tensors by their addresses."""

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad

from remanence import _torch

_PLAIN = (Tensor, nn.Parameter)
_IN_FUNCTORCH = "torch.func transforms the call"


def refuses(tensors: Iterable[Tensor | None]) -> str | None:
    """Return why no kernel may read these tensors by their addresses, or None if one may.

    A kernel reads memory and does not see what PyTorch does around an operation. A trace would record nothing; a fake
    tensor has no memory; and the memory of a batch under ``vmap``, of a tensor subclass or of a negated view does not
    hold the values that the tensor represents. In all these cases the reference, made of PyTorch operations, must run.

    Args:
        tensors: all tensors that the kernel would read; None is skipped.
    """
    if torch.compiler.is_exporting():
        return "torch.export records the call"
    if torch.compiler.is_compiling():
        return None  # compiled code calls kernels outside of its graph, where this function is called again
    return _refuses_mode() or refuses_memory(tensors)


def are_readable(*tensors: Tensor) -> bool:
    """Return whether Python may read the values of these tensors to decide what to compute."""
    return not torch.compiler.is_compiling() and refuses(tensors) is None


def is_transformed() -> bool:
    """Return whether ``torch.func``, forward-mode differentiation or ``torch.export`` transforms the call.

    PyTorch's fused LSTM has no rules for them, or unrolls time.
    """
    return torch.compiler.is_exporting() or _torch.is_in_functorch() or _torch.is_in_forward_mode()


def resolve(grads: Sequence[Tensor | None]) -> tuple[Any, ...]:
    """Carry out pending negations in the gradients; views of complex tensors can have them."""
    return tuple(None if grad is None else grad.resolve_neg() for grad in grads)


def _refuses_mode() -> str | None:
    """Return which tracing or dispatch mode observes PyTorch's operations, or None."""
    if _torch.is_traced():
        return "torch.jit.trace records the call"
    if _torch.is_dispatched():
        return "a TorchDispatchMode (such as FakeTensorMode) is active"
    return _IN_FUNCTORCH if _torch.is_in_functorch() else None


def refuses_memory(tensors: Iterable[Tensor | None]) -> str | None:
    """Return why the memory of one of these tensors does not hold its values, or None."""
    dual = _torch.is_in_forward_mode()
    for tensor in tensors:
        if tensor is None:
            continue
        if type(tensor) not in _PLAIN:
            return f"a tensor is a {type(tensor).__name__}, a subclass of torch.Tensor"
        if (keys := _torch.surplus_keys(tensor)) is not None:
            return f"a tensor on {tensor.device} has no plain memory: {keys}"
        if dual and forward_ad.unpack_dual(tensor).tangent is not None:
            return "a tensor carries a tangent of forward-mode differentiation"
    return None
