"""Chooses the backend of an operation, and records its kernels in the autograd graph.

:func:`choose` returns the backend that runs; :func:`record` runs a kernel as a node of the autograd graph. Under a
transform or a trace (``torch.func``, ``torch.export``, ``torch.jit.trace``, fake tensors) the reference runs instead of
a kernel. It also computes second derivatives.
"""

import functools
import importlib
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

load_backend = functools.cache(importlib.import_module)
"""Import a module with kernels when it is first used, since it loads a compiler; a look-up after that."""


class UntraceableWarning(UserWarning):
    """Warns that a step runs as a plain loop because an operation in it cannot be fused."""


@runtime_checkable
class OperationKernel(Protocol):
    """A kernel that computes an operation and its gradients, as :func:`record` puts it in the autograd graph.

    The kernel of a scan is a loop around a traced step, which a :class:`remanence.ops.scan.backend.ScanBackend` runs.
    """

    def forward(self, tensors: Sequence[Any], needs: Sequence[bool] | None) -> tuple[tuple[Any, ...], Optionals]:
        """Compute the results, and the residuals: what the backward pass needs besides ``tensors``.

        Args:
            tensors: the arguments of the operation; some may be None.
            needs: for each argument, whether its gradient is needed; None if there is no backward pass.
        """
        ...

    def backward(
        self, tensors: Sequence[Any], residuals: Sequence[Any], grads: Sequence[Any], needs: Sequence[bool]
    ) -> Sequence[Any]:
        """Compute a gradient for each of ``tensors``; None where none is needed.

        Args:
            tensors: the arguments of :meth:`forward`.
            residuals: what :meth:`forward` saved.
            grads: gradients of the results; None if the loss does not depend on a result.
            needs: as in :meth:`forward`.
        """
        ...

    @property
    def reference(self) -> Callable[..., Sequence[Any]]:
        """A function that computes the results in plain PyTorch from the same tensors, for second derivatives."""
        ...


def choose(
    backend: str,
    tensors: Iterable[Tensor | None],
    like: Tensor,
    options: Mapping[str, Callable[[], str | None]],
    *,
    what: str = "this",
    on_refusal: Callable[[str], None] | None = None,
) -> str:
    """Return the name of the backend that runs: one of the options, or ``"reference"``.

    Args:
        backend: the backend that the user asks for; ``"auto"``: the kernel for the device, if it can run.
        tensors: all tensors that a kernel would read.
        like: one of them, with the device and the dtype.
        options: backends by name, each with a function that returns why it cannot run, or None.
        what: names the operation in an error message.
        on_refusal: called with the reason if ``"auto"`` falls back to the reference, unless a transform is the reason.

    Raises:
        ValueError: the backend is unknown, or was asked for explicitly and cannot run.
    """
    names = ("auto", "reference", *options)
    if backend not in names:
        raise UserError(f"unknown backend {backend!r}: use {', '.join(names)}")
    name = _pick_fastest(like) if backend == "auto" else backend
    if name not in options or like.numel() == 0:
        return "reference"
    transformed = addressing.refuses(tensors)
    why = transformed or options[name]()
    if why is None:
        return name
    if backend != "auto":
        raise UserError(f"backend {backend!r} cannot run {what}: {why}")
    if transformed is None and on_refusal is not None:
        on_refusal(why)
    return "reference"


def _pick_fastest(like: Tensor) -> str:
    if like.device.type == "cpu":
        return "cpu" if like.dtype in (torch.float32, torch.float64) else "reference"
    return "gpu" if like.device.type == "cuda" else "reference"


_WARNED: set[str] = set()


def warn_once(message: str) -> None:
    """Warn once per process that something runs as a plain loop."""
    if message not in _WARNED:
        _WARNED.add(message)
        warnings.warn(message, UntraceableWarning, stacklevel=_find_stack_level())


def _find_stack_level() -> int:
    """Return the stack level of the first caller outside of this library, for a warning."""
    level, frame = 1, sys._getframe(1)
    while frame.f_back is not None and str(frame.f_globals.get("__name__", "")).partition(".")[0] in _INSIDE:
        level, frame = level + 1, frame.f_back
    return level


_INSIDE = ("remanence", "torch", "jaxtyping", "beartype", "functools", "contextlib")


def record(kernel: OperationKernel, tensors: Sequence[Any]) -> tuple[Any, ...]:
    """Run a kernel; if one of the tensors requires a gradient, as a node of the autograd graph.

    Args:
        kernel: computes the operation.
        tensors: the arguments of the operation; some may be None.
    """
    if torch.is_grad_enabled() and any(tensor is not None and tensor.requires_grad for tensor in tensors):
        return _KernelFunction.apply(kernel, *tensors)
    return kernel.forward(tensors, None)[0]


class _KernelFunction(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, kernel: OperationKernel, *tensors: Any) -> tuple[Any, ...]:
        results, residuals = kernel.forward(tensors, ctx.needs_input_grad[1:])
        ctx.kernel, ctx.count = kernel, len(tensors)
        ctx.save_for_backward(*tensors, *residuals)
        ctx.set_materialize_grads(False)
        return results

    @staticmethod
    def backward(ctx: Any, *above: Tensor | None) -> tuple[Tensor | None, ...]:
        saved = ctx.saved_tensors  # read once: under torch.utils.checkpoint a second access recomputes everything
        tensors, residuals = saved[: ctx.count], saved[ctx.count :]
        grads = addressing.resolve(above)
        if double_backward.needs_reference(grads):
            return None, *double_backward.differentiate_reference(ctx.kernel.reference, grads, tensors)
        return None, *ctx.kernel.backward(tensors, residuals, grads, ctx.needs_input_grad[1:])
