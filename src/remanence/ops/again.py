"""Gradients by the plain loop, where those of a kernel do not do."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from remanence._kernels import addressing


def is_needed(above: Sequence[Tensor | None]) -> bool:
    """Whether a backward pass must be the plain loop's: it is differentiated again, or no kernel can read ``above``."""
    return torch.is_grad_enabled() or addressing.refuses(above) is not None


def gradients(
    loop: Callable[..., Sequence[Tensor | None]], above: Sequence[Tensor | None], tensors: Sequence[Tensor | None]
) -> list[Tensor | None]:
    """Gradients of a plain loop by autograd, for the backward of a function that ran it as a kernel.

    Args:
        loop: takes ``tensors``, and gives the results of the function.
        above: gradients of the results; None where there is none.
        tensors: what the function was given.

    Returns:
        A gradient for each of ``tensors``; None for those that need none.
    """
    again = torch.is_grad_enabled()
    with torch.enable_grad():
        # As views of their own, what is computed from one tensor and is another does not count as a way to the first.
        given = [x.view_as(x) if x is not None and x.requires_grad else x for x in tensors]
        results = loop(*given)
    pairs = [
        (result, grad)
        for result, grad in zip(results, above, strict=True)
        if result is not None and result.requires_grad and grad is not None
    ]
    outputs, of_outputs = zip(*pairs, strict=True)
    wanted = [x for x in given if x is not None and x.requires_grad]
    found = iter(torch.autograd.grad(outputs, wanted, of_outputs, create_graph=again, allow_unused=True))
    return [next(found) if x is not None and x.requires_grad else None for x in given]
