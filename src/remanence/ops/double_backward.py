"""Gradients that can be differentiated again: autograd through the reference loop, in place of a kernel's backward."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from remanence._kernels import addressing


def needs_reference(grads: Sequence[Tensor | None]) -> bool:
    """Return whether a backward pass must run the reference loop instead of a kernel.

    It must if its result will be differentiated again, or if no kernel can read ``grads``.
    """
    return torch.is_grad_enabled() or addressing.refuses(grads) is not None


def differentiate_reference(
    reference: Callable[..., Sequence[Tensor | None]], grads: Sequence[Tensor | None], tensors: Sequence[Tensor | None]
) -> list[Tensor | None]:
    """Compute the gradients of an operation by autograd through its reference loop.

    Args:
        reference: takes ``tensors`` and returns the results of the operation.
        grads: gradients of the results; None where nothing depends on a result.
        tensors: the arguments of the operation.

    Returns:
        A gradient for each of ``tensors``; None for those that do not require one.
    """
    create_graph = torch.is_grad_enabled()
    with torch.enable_grad():
        # Each argument becomes a view of its own: if one was computed from another, their gradients stay apart.
        arguments = [x.view_as(x) if x is not None and x.requires_grad else x for x in tensors]
        results = reference(*arguments)
    pairs = [
        (result, grad)
        for result, grad in zip(results, grads, strict=True)
        if result is not None and result.requires_grad and grad is not None
    ]
    outputs, output_grads = zip(*pairs, strict=True)
    leaves = [x for x in arguments if x is not None and x.requires_grad]
    computed = iter(torch.autograd.grad(outputs, leaves, output_grads, create_graph=create_graph, allow_unused=True))
    return [next(computed) if x is not None and x.requires_grad else None for x in arguments]
