"""Whether a kernel may be given the addresses of tensors: the one place that decides it."""

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad

from remanence import _torch

_PLAIN = (Tensor, nn.Parameter)
_IN_FUNCTORCH = "torch.func transforms the call"


def refuses(tensors: Iterable[Tensor | None]) -> str | None:
    """Why no kernel may read these tensors by their addresses, or None.

    A kernel reads memory. It does not see what PyTorch does around an operation: a trace would record nothing, a fake
    tensor has no memory, and the memory of a batch under ``vmap``, of a subclass or of a negated view does not hold
    what its operations would give. In all these cases the plain loop of PyTorch operations is right.

    Args:
        tensors: all that the kernel is given; None is passed over.
    """
    if torch.compiler.is_exporting():
        return "torch.export records the call"
    if torch.compiler.is_compiling():
        return None  # what is compiled calls kernels outside of its graph, and they ask again
    return _refuses_mode() or refuses_memory(tensors)


def are_readable(*tensors: Tensor) -> bool:
    """Whether Python may look at the numbers in these tensors, and decide by them."""
    return not torch.compiler.is_compiling() and refuses(tensors) is None


def is_transformed() -> bool:
    """Whether ``torch.func`` or forward-mode differentiation transforms the call: PyTorch's fused LSTM has no rules for
    them."""
    return _torch.is_in_functorch() or _torch.is_in_forward_mode()


def resolve(grads: Sequence[Tensor | None]) -> tuple[Any, ...]:
    """The gradients, with a negation that is still pending in a view (as complex tensors have them) carried out."""
    return tuple(None if grad is None else grad.resolve_neg() for grad in grads)


def _refuses_mode() -> str | None:
    """What is watching operations."""
    if _torch.is_traced():
        return "torch.jit.trace records the call"
    if _torch.is_dispatched():
        return "a TorchDispatchMode (such as FakeTensorMode) is active"
    return _IN_FUNCTORCH if _torch.is_in_functorch() else None


def refuses_memory(tensors: Iterable[Tensor | None]) -> str | None:
    """Why the memory of these tensors, if they have one, does not hold their numbers, or None."""
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
