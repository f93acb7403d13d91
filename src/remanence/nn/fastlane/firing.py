"""Which loop fires the neurons, and the firing as one node of the autograd graph."""

import importlib.util
import warnings
from functools import partial
from types import ModuleType
from typing import Any, no_type_check

import torch
from jaxtyping import Float
from torch import Tensor
from torch._compile import _disable_dynamo

from remanence.nn.fastlane import reference
from remanence.nn.fastlane.schedule import Schedule
from remanence.nn.persistent import Pointwise
from remanence.scan import again
from remanence.scan.dispatch import UntraceableWarning, trace_of
from remanence.scan.gpu import DTYPES
from remanence.scan.trace import TracedStep, UntraceableError


def fire(
    schedule: Schedule,
    drive: Float[Tensor, "neurons time batch"],
    state: Float[Tensor, "neurons batch"],
    weight: Tensor,
    backend: str = "auto",
) -> tuple[Float[Tensor, "neurons time batch"], Float[Tensor, "neurons batch"]]:
    """Values after each time step, and after the last.

    Args:
        schedule: who fires when, and how.
        drive: what the inputs and the bias add in each firing.
        state: values before the first step.
        weight: one for each edge, or a matrix [receivers, senders].
        backend: ``"reference"``, the plain loop; ``"cpu"``, ``"gpu"``; or ``"auto"``, the fastest that applies.
    """
    if torch.compiler.is_exporting():
        return _fire(schedule, drive, state, weight, "reference")
    if torch.compiler.is_compiling():
        return _disable_dynamo(_fire)(schedule, drive, state, weight, backend)
    return _fire(schedule, drive, state, weight, backend)


def _fire(schedule: Schedule, drive: Tensor, state: Tensor, weight: Tensor, backend: str) -> tuple[Tensor, Tensor]:
    if torch.is_autocast_enabled(drive.device.type):
        half = (torch.bfloat16, torch.float16)
        drive, state, weight = (x.float() if x.dtype in half else x for x in (drive, state, weight))
    chosen = _fastest(drive) if backend == "auto" else backend
    if chosen != "reference" and drive.numel():
        try:
            step, like = partial(_pointwise, schedule.function), torch.empty(2, 1, 3, dtype=drive.dtype)
            function = trace_of(step, (1, 0, 0), like)
            return _Firing.apply(_backend(chosen), schedule, function, drive, state, weight)
        except UntraceableError as error:
            message = f"Fastlane runs as a plain loop, since its nonlinearity cannot be fused: {error}"
            warnings.warn(message, UntraceableWarning, stacklevel=5)
    values = reference.fire(schedule, schedule.levels, drive, state, schedule.matrix(weight))
    return values, values[:, -1]


def _backend(name: str) -> ModuleType:
    """Imported at first use: a compiler comes with it."""
    return importlib.import_module(f"remanence.nn.fastlane.{name}")


def _fastest(like: Tensor) -> str:
    if like.device.type == "cuda" and like.dtype in DTYPES and importlib.util.find_spec("triton"):
        return "gpu"
    return "cpu" if like.device.type == "cpu" and like.dtype in (torch.float32, torch.float64) else "reference"


@no_type_check  # as of the steps of a scan
def _pointwise(f: Pointwise, state: tuple[Tensor, ...], inputs: Any, params: Any) -> tuple[Tensor]:
    return (f(state[0]),)


class _Firing(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        backend: ModuleType,
        schedule: Schedule,
        function: TracedStep,
        drive: Tensor,
        state: Tensor,
        weight: Tensor,
    ) -> tuple[Tensor, Tensor]:
        values, before = backend.forward(schedule, function, drive, state, weight)
        function.vjp((True,))  # now: what has no derivative is better refused here than in the backward pass
        ctx.backend, ctx.schedule, ctx.function = backend, schedule, function
        ctx.save_for_backward(drive, state, weight, values, before)
        ctx.set_materialize_grads(False)
        ticks = schedule.ticks
        return values[:, ticks::ticks], values[:, -1].clone()

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor | None) -> tuple[Tensor | None, ...]:
        schedule: Schedule = ctx.schedule
        drive, state, weight, values, before = ctx.saved_tensors
        if torch.is_grad_enabled():
            return None, None, None, *_by_autograd(schedule, (drive, state, weight), grad_outputs)
        above, final = grad_outputs
        above = torch.zeros_like(drive) if above is None else above
        if final is not None:
            above = above.clone(memory_format=torch.contiguous_format)
            above[:, -1] += final
        grads = ctx.backend.backward(schedule, ctx.function, above, before, weight)
        of_drive = grads if schedule.ticks == 1 else grads.unflatten(1, (-1, schedule.ticks)).sum(2)
        needs = ctx.needs_input_grad[3:]
        return (
            *(None, None, None, of_drive),
            schedule.of_state(weight, grads[:, 0]) if needs[1] else None,
            ctx.backend.of_weight(schedule, weight, values, grads) if needs[2] else None,
        )


def _by_autograd(
    schedule: Schedule, tensors: tuple[Tensor, ...], above: tuple[Tensor | None, ...]
) -> list[Tensor | None]:
    """Gradients that can be differentiated again: those of the plain loop."""
    drive, state, weight = tensors
    values = reference.fire(schedule, schedule.levels, drive, state, schedule.matrix(weight))
    return again.gradients((values, values[:, -1]), above, tensors)
