"""Which loop fires the neurons."""

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from types import ModuleType
from typing import Any, no_type_check

import torch
from jaxtyping import Float
from torch import Tensor

from remanence._kernels import launch, triton_place
from remanence.ops import autocast
from remanence.ops.dispatch import BackendName, choose, record, warn_once
from remanence.ops.firing import reference
from remanence.ops.firing.schedule import Pointwise, Schedule
from remanence.ops.scan.gpu import DTYPES
from remanence.ops.scan.operation import trace_of
from remanence.ops.scan.trace import TracedStep, UntraceableError
from remanence.ops.uncompiled import uncompiled


@uncompiled
def fire(
    schedule: Schedule,
    drive: Float[Tensor, "neurons time batch"],
    state: Float[Tensor, "neurons batch"],
    weight: Tensor,
    backend: BackendName = "auto",
) -> tuple[Float[Tensor, "neurons time batch"], Float[Tensor, "neurons batch"]]:
    """Values after each time step, and after the last.

    Args:
        schedule: who fires when, and how.
        drive: what the inputs and the bias add in each firing.
        state: values before the first step.
        weight: one for each edge, or a matrix [receivers, senders].
        backend: ``"reference"``, the plain loop; ``"cpu"``, ``"gpu"``; or ``"auto"``, the fastest that applies.
    """
    tensors = autocast.widen((drive, state, weight))
    traces: list[TracedStep] = []
    options = {name: partial(_refuses, name, schedule, tensors[0], traces) for name in ("cpu", "gpu")}
    name = choose(backend, tensors, tensors[0], options, told=_tell)
    if name == "reference":
        return _looped(schedule, *tensors)
    values, last = record(Firing(schedule, name, traces[-1]), tensors)
    return values, last


def _refuses(name: str, schedule: Schedule, like: Tensor, traces: list[TracedStep]) -> str | None:
    """Why a backend cannot fire, or None; the trace of the nonlinearity joins the traces."""
    why = triton_place.refuses(like, DTYPES) if name == "gpu" else launch.refuses(like)
    if why is not None:
        return why
    try:
        traces.append(_traced(schedule, like.dtype))
    except UntraceableError as error:
        return f"its nonlinearity cannot be fused: {error}"
    return None


def _looped(schedule: Schedule, drive: Tensor, state: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    values = reference.fire(schedule, schedule.levels, drive, state, schedule.matrix(weight))
    return values, values[:, -1].clone()


def _tell(why: str) -> None:
    warn_once(f"Fastlane runs as a plain loop: {why}")


def _traced(schedule: Schedule, dtype: torch.dtype) -> TracedStep:
    """The nonlinearity as a step, which its kernels are made of."""
    return trace_of(partial(_pointwise, schedule.function), (1, 0, 0), torch.empty(2, 1, 3, dtype=dtype))


@no_type_check  # as of the steps of a scan
def _pointwise(f: Pointwise, state: tuple[Tensor, ...], inputs: Any, params: Any) -> tuple[Tensor]:
    return (f(state[0]),)


@dataclass(frozen=True)
class Firing:
    """The firing of neurons, of (drive, state, weight), as :func:`remanence.ops.dispatch.record` runs it.

    Attributes:
        schedule: who fires when, and how.
        backend: whose kernels.
        function: the nonlinearity, traced.
    """

    schedule: Schedule
    backend: str
    function: TracedStep

    def forward(
        self, tensors: Sequence[Tensor], needs: Sequence[bool] | None
    ) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        """Values after each time step, and after the last."""
        drive, state, weight = tensors
        values, before = self._module.forward(self.schedule, self.function, drive, state, weight)
        if needs is not None:
            self.function.vjp((True,))  # now: what has no derivative is better refused here than in the backward pass
        ticks = self.schedule.ticks
        return (values[:, ticks::ticks], values[:, -1].clone()), (values, before)

    def backward(
        self,
        tensors: Sequence[Tensor],
        kept: Sequence[Tensor],
        grads: Sequence[Tensor | None],
        needs: Sequence[bool],
    ) -> list[Tensor | None]:
        """Gradients of drive, state and weight."""
        schedule, (drive, _, weight), (values, before) = self.schedule, tensors, kept
        of_values, final = grads
        of_values = torch.zeros_like(drive) if of_values is None else of_values
        if final is not None:
            of_values = of_values.clone(memory_format=torch.contiguous_format)
            of_values[:, -1] += final
        fired = self._module.backward(schedule, self.function, of_values, before, weight)
        return [
            fired if schedule.ticks == 1 else fired.unflatten(1, (-1, schedule.ticks)).sum(2),
            schedule.of_state(weight, fired[:, 0]) if needs[1] else None,
            self._module.of_weight(schedule, weight, values, fired) if needs[2] else None,
        ]

    def reference(self, drive: Tensor, state: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
        """The plain loop."""
        return _looped(self.schedule, drive, state, weight)

    @property
    def _module(self) -> ModuleType:
        """Imported at first use: a compiler comes with it."""
        return importlib.import_module(f"remanence.ops.firing.{self.backend}")
