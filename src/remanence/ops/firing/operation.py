"""Which loop fires the neurons, and the firing as one node of the autograd graph."""

import importlib.util
import warnings
from collections.abc import Sequence
from functools import partial
from types import ModuleType
from typing import Any, no_type_check

import torch
from jaxtyping import Float
from torch import Tensor

from remanence._kernels import addressing
from remanence.ops import again, autocast
from remanence.ops.firing import reference
from remanence.ops.firing.schedule import Pointwise, Schedule
from remanence.ops.scan.gpu import DTYPES
from remanence.ops.scan.operation import UntraceableWarning, trace_of
from remanence.ops.scan.trace import TracedStep, UntraceableError
from remanence.ops.uncompiled import uncompiled


@uncompiled
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
    drive, state, weight = autocast.widen((drive, state, weight))
    chosen = _fastest(drive) if backend == "auto" else backend
    why = addressing.refuses((drive, state, weight))
    if why is not None and backend not in ("auto", "reference"):
        raise ValueError(f"backend {backend!r} cannot run this: {why}")
    if why is None and chosen != "reference" and drive.numel():
        try:
            step, like = partial(_pointwise, schedule.function), torch.empty(2, 1, 3, dtype=drive.dtype)
            function = trace_of(step, (1, 0, 0), like)
            return _Firing.apply(_backend(chosen), schedule, function, drive, state, weight)
        except UntraceableError as error:
            message = f"Fastlane runs as a plain loop, since its nonlinearity cannot be fused: {error}"
            warnings.warn(message, UntraceableWarning, stacklevel=5)
    values = reference.fire(schedule, schedule.levels, drive, state, schedule.matrix(weight))
    return values, values[:, -1].clone()


def _backend(name: str) -> ModuleType:
    """Imported at first use: a compiler comes with it."""
    return importlib.import_module(f"remanence.ops.firing.{name}")


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
    def backward(ctx: Any, *above: Tensor | None) -> tuple[Tensor | None, ...]:
        schedule: Schedule = ctx.schedule
        drive, state, weight, values, before = ctx.saved_tensors
        grads = addressing.resolve(above)
        if again.is_needed(grads):
            return None, None, None, *_by_autograd(schedule, (drive, state, weight), grads)
        of_values, final = grads
        of_values = torch.zeros_like(drive) if of_values is None else of_values
        if final is not None:
            of_values = of_values.clone(memory_format=torch.contiguous_format)
            of_values[:, -1] += final
        fired = ctx.backend.backward(schedule, ctx.function, of_values, before, weight)
        of_drive = fired if schedule.ticks == 1 else fired.unflatten(1, (-1, schedule.ticks)).sum(2)
        needs = ctx.needs_input_grad[3:]
        return (
            *(None, None, None, of_drive),
            schedule.of_state(weight, fired[:, 0]) if needs[1] else None,
            ctx.backend.of_weight(schedule, weight, values, fired) if needs[2] else None,
        )


def _by_autograd(
    schedule: Schedule, tensors: tuple[Tensor, ...], above: Sequence[Tensor | None]
) -> list[Tensor | None]:
    """Gradients that can be differentiated again: those of the plain loop."""

    def loop(drive: Tensor, state: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
        values = reference.fire(schedule, schedule.levels, drive, state, schedule.matrix(weight))
        return values, values[:, -1]

    return again.gradients(loop, above, tensors)
