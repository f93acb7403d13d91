"""Chooses the loop that fires the neurons."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from types import ModuleType
from typing import Any, no_type_check

import torch
from jaxtyping import Float
from torch import Tensor

from remanence._kernels import launch, triton_support
from remanence.ops import autocast
from remanence.ops.dispatch import BackendName, choose, load_backend, record, warn_once
from remanence.ops.eager import run_eagerly
from remanence.ops.episodes import Episodes, select_last
from remanence.ops.firing import reference
from remanence.ops.firing.firing_schedule import Pointwise, Schedule
from remanence.ops.scan.gpu import DTYPES
from remanence.ops.scan.operation import trace_step
from remanence.ops.scan.trace import TracedStep, UntraceableError


@run_eagerly
def fire(
    schedule: Schedule,
    drive: Float[Tensor, "neurons time batch"],
    state: Float[Tensor, "neurons batch"],
    weight: Tensor,
    backend: BackendName = "auto",
    episodes: Episodes | None = None,
) -> tuple[Float[Tensor, "neurons time batch"], Float[Tensor, "neurons batch"]]:
    """Fire neurons over time; return their values after each time step and after the last one.

    Args:
        schedule: the order of firing and the nonlinearity.
        drive: sum of inputs and bias, which is added in each firing, [neurons, time, batch].
        state: values before the first step, [neurons, batch].
        weight: weight of each edge, [edges], or a matrix [receivers, senders].
        backend: ``"reference"``, the plain loop; ``"cpu"``, kernels compiled by LLVM; ``"gpu"``, a Triton kernel; or
            ``"auto"`` (default), the fastest that applies.
        episodes: where samples are reset, to values [neurons, batch], and end; default: nowhere.
    """
    tensors = autocast.widen((drive, state, weight))
    if episodes is not None:
        tensors = (*tensors, episodes.reset.T.to(tensors[0].dtype), *autocast.widen(episodes.reset_state))
    traces: list[TracedStep] = []
    options = {name: partial(_refuses, name, schedule, tensors[0], traces) for name in ("cpu", "gpu")}
    name = choose(backend, tensors, tensors[0], options, on_refusal=_warn)
    if name == "reference":
        values, last = _run_reference(schedule, *tensors)
    else:
        values, last = record(FiringKernel(schedule, name, traces[-1]), tensors)
    if episodes is None or episodes.lengths is None:
        return values, last
    return values, select_last(values.permute(2, 1, 0), last.T, tensors[1].T, episodes.lengths).T


def _refuses(name: str, schedule: Schedule, like: Tensor, traces: list[TracedStep]) -> str | None:
    """Return why a backend cannot run, or None; the trace of the nonlinearity is appended to ``traces``."""
    why = triton_support.refuses(like, DTYPES) if name == "gpu" else launch.refuses(like)
    if why is not None:
        return why
    try:
        traces.append(_trace(schedule, like.dtype))
    except UntraceableError as error:
        return f"its nonlinearity cannot be fused: {error}"
    return None


def _run_reference(
    schedule: Schedule, drive: Tensor, state: Tensor, weight: Tensor, *anew: Tensor
) -> tuple[Tensor, Tensor]:
    values = reference.fire(schedule, schedule.levels, drive, state, schedule.matrix(weight), *anew)
    return values, values[:, -1].clone()


def _warn(why: str) -> None:
    warn_once(f"Fastlane runs as a plain loop: {why}")


def _trace(schedule: Schedule, dtype: torch.dtype) -> TracedStep:
    """Trace the nonlinearity as a step, from which the kernels are generated."""
    return trace_step(partial(_pointwise, schedule.function), (1, 0, 0), torch.empty(2, 1, 3, dtype=dtype))


@no_type_check  # as for the steps of a scan
def _pointwise(f: Pointwise, state: tuple[Tensor, ...], inputs: Any, params: Any) -> tuple[Tensor]:
    return (f(state[0]),)


@dataclass(frozen=True)
class FiringKernel:
    """The firing of neurons, with tensors (drive, state, weight), and (reset, first) if samples are reset.

    An :class:`remanence.ops.dispatch.OperationKernel`.

    Attributes:
        schedule: the order of firing and the nonlinearity.
        backend: ``"cpu"`` or ``"gpu"``.
        function: the traced nonlinearity.
    """

    schedule: Schedule
    backend: str
    function: TracedStep

    def forward(
        self, tensors: Sequence[Tensor], needs: Sequence[bool] | None
    ) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        """Compute the values after each time step and after the last one."""
        values, before = self._module.forward(self.schedule, self.function, *tensors)
        if needs is not None:
            self.function.vjp((True,))  # fails here, not in the backward pass, if there is no derivative
        ticks = self.schedule.ticks
        return (values[:, ticks::ticks], values[:, -1].clone()), (values, before)

    def backward(
        self,
        tensors: Sequence[Tensor],
        residuals: Sequence[Tensor],
        grads: Sequence[Tensor | None],
        needs: Sequence[bool],
    ) -> list[Tensor | None]:
        """Compute the gradients of drive, state and weight, and of the values that a reset restores."""
        schedule, (drive, _, weight, *anew), (values, before) = self.schedule, tensors, residuals
        of_values, final = grads
        of_values = torch.zeros_like(drive) if of_values is None else of_values
        if final is not None:
            of_values = of_values.clone(memory_format=torch.contiguous_format)
            of_values[:, -1] += final
        fired = self._module.backward(schedule, self.function, of_values, before, weight, *anew[:1])
        of_drive = fired if schedule.ticks == 1 else fired.unflatten(1, (-1, schedule.ticks)).sum(2)
        of_weight = self._module.weight_gradient(schedule, weight, values, fired) if needs[2] else None
        if not anew:
            return [of_drive, schedule.state_gradient(weight, fired[:, 0]) if needs[1] else None, of_weight]
        reset, first = anew
        opening = fired[:, :: schedule.ticks]  # the firings that read the values that a reset replaces
        of_state = schedule.state_gradient(weight, opening[:, 0] * (1 - reset[0])) if needs[1] else None
        of_first = schedule.state_gradient(weight, (opening * reset).sum(1)) if needs[4] else None
        if of_weight is not None:
            time, sample = reset.nonzero().T
            replaced = first[:, sample] - values[:, time * schedule.ticks, sample]
            of_weight = of_weight + schedule.gradient_of_old(weight, opening[:, time, sample], replaced)
        return [of_drive, of_state, of_weight, None, of_first]

    def reference(self, *tensors: Tensor) -> tuple[Tensor, Tensor]:
        """Run the plain loop."""
        return _run_reference(self.schedule, *tensors)

    @property
    def _module(self) -> ModuleType:
        """Return the module with the kernels, which is imported at first use because it loads a compiler."""
        return load_backend(f"remanence.ops.firing.{self.backend}")
