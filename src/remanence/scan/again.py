"""Gradients that can be differentiated again, for kernels whose own cannot."""

from collections.abc import Sequence

import torch
from torch import Tensor


def gradients(
    results: Sequence[Tensor | None], above: Sequence[Tensor | None], tensors: Sequence[Tensor | None]
) -> list[Tensor | None]:
    """Gradients of a plain loop by autograd, for the backward of a function that ran it as a kernel.

    Args:
        results: what the plain loop gives for ``tensors``.
        above: gradients of the results; None where there is none.
        tensors: what the function was given.

    Returns:
        A gradient for each of ``tensors``; None for those that need none.
    """
    pairs = [
        (result, grad)
        for result, grad in zip(results, above, strict=True)
        if result is not None and result.requires_grad and grad is not None
    ]
    outputs, given = zip(*pairs, strict=True)
    wanted = [tensor for tensor in tensors if tensor is not None and tensor.requires_grad]
    found = iter(torch.autograd.grad(outputs, wanted, given, create_graph=True, allow_unused=True))
    return [next(found) if tensor is not None and tensor.requires_grad else None for tensor in tensors]
