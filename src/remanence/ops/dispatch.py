"""The one way from an operation to its kernels.

:func:`choose` says which backend runs; :func:`record` runs a kernel as a node of the autograd graph. A transform or a
trace around the call (``torch.func``, ``torch.export``, ``torch.jit.trace``, fake tensors) is given the plain
reference; so is a second derivative.
"""

import sys
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal, Protocol, TypeAlias, runtime_checkable

import torch
from torch import Tensor

from remanence._kernels import addressing
from remanence.errors import UserError
from remanence.ops import double_backward

Optionals: TypeAlias = Sequence[Tensor | None]
BackendName: TypeAlias = Literal["auto", "reference", "cpu", "gpu"]


class UntraceableWarning(UserWarning):
    """A step runs as the plain loop because an operation in it cannot be fused."""


@runtime_checkable
class Implementation(Protocol):
    """A fast way to compute an operation, and its gradients."""

    def forward(self, tensors: Sequence[Any], needs: Sequence[bool] | None) -> tuple[tuple[Any, ...], Optionals]:
        """The results, and what the way back has to keep.

        Args:
            tensors: what the operation is given; some may be None.
            needs: whether the gradient of each is asked for; None: there will be no way back.
        """
        ...

    def backward(
        self, tensors: Sequence[Any], kept: Sequence[Any], grads: Sequence[Any], needs: Sequence[bool]
    ) -> Sequence[Any]:
        """A gradient for each of ``tensors``, or None.

        Args:
            tensors: what :meth:`forward` was given.
            kept: what it kept.
            grads: of the results; None: nothing depends on one.
            needs: as there.
        """
        ...

    @property
    def reference(self) -> Callable[..., Sequence[Any]]:
        """Gives the results in plain PyTorch from the same tensors: where the gradient is differentiated again."""
        ...


def choose(
    backend: str,
    tensors: Iterable[Tensor | None],
    like: Tensor,
    options: Mapping[str, Callable[[], str | None]],
    *,
    what: str = "this",
    told: Callable[[str], None] | None = None,
) -> str:
    """The name of the backend that runs: one of the options, or ``"reference"``.

    Args:
        backend: what the user wants; ``"auto"``: the kernel for the device, if it can run.
        tensors: all that a kernel would be given.
        like: one of them, with the device and the dtype.
        options: backends by name, each with a function that says why it cannot run, or gives None.
        what: is to be run, in an error.
        told: called with the reason why the kernel for the device cannot run, where it is not a transform's.

    Raises:
        ValueError: an unknown backend, or one that was asked for and cannot run.
    """
    names = ("auto", "reference", *options)
    if backend not in names:
        raise UserError(f"unknown backend {backend!r}: use {', '.join(names)}")
    name = _fastest(like) if backend == "auto" else backend
    if name not in options or like.numel() == 0:
        return "reference"
    watched = addressing.refuses(tensors)
    why = watched or options[name]()
    if why is None:
        return name
    if backend != "auto":
        raise UserError(f"backend {backend!r} cannot run {what}: {why}")
    if watched is None and told is not None:
        told(why)
    return "reference"


def _fastest(like: Tensor) -> str:
    if like.device.type == "cpu":
        return "cpu" if like.dtype in (torch.float32, torch.float64) else "reference"
    return "gpu" if like.device.type == "cuda" else "reference"


_WARNED: set[str] = set()


def warn_once(message: str) -> None:
    """Say once in a process that something runs as a plain loop."""
    if message not in _WARNED:
        _WARNED.add(message)
        warnings.warn(message, UntraceableWarning, stacklevel=_outside())


def _outside() -> int:
    """How many calls up the first one is that is not this library's."""
    level, frame = 1, sys._getframe(1)
    while frame.f_back is not None and str(frame.f_globals.get("__name__", "")).partition(".")[0] in _INSIDE:
        level, frame = level + 1, frame.f_back
    return level


_INSIDE = ("remanence", "torch", "jaxtyping", "beartype", "functools", "contextlib")


def record(kernel: Implementation, tensors: Sequence[Any]) -> tuple[Any, ...]:
    """The results of a kernel, as a node of the autograd graph where one of the tensors requires a gradient.

    Args:
        kernel: what computes.
        tensors: what it is given; some may be None.
    """
    if torch.is_grad_enabled() and any(tensor is not None and tensor.requires_grad for tensor in tensors):
        return _Recorded.apply(kernel, *tensors)
    return kernel.forward(tensors, None)[0]


class _Recorded(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, kernel: Implementation, *tensors: Any) -> tuple[Any, ...]:
        results, kept = kernel.forward(tensors, ctx.needs_input_grad[1:])
        ctx.kernel, ctx.count = kernel, len(tensors)
        ctx.save_for_backward(*tensors, *kept)
        ctx.set_materialize_grads(False)
        return results

    @staticmethod
    def backward(ctx: Any, *above: Tensor | None) -> tuple[Tensor | None, ...]:
        saved = ctx.saved_tensors  # once: under torch.utils.checkpoint a second access would compute all a second time
        tensors, kept = saved[: ctx.count], saved[ctx.count :]
        grads = addressing.resolve(above)
        if double_backward.needs_reference(grads):
            return None, *double_backward.differentiate_reference(ctx.kernel.reference, grads, tensors)
        return None, *ctx.kernel.backward(tensors, kept, grads, ctx.needs_input_grad[1:])
