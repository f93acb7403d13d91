"""Chooses the loop that updates fast weights over time."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, no_type_check

import torch
from jaxtyping import Float
from torch import Tensor

from remanence._kernels import addressing, launch
from remanence.ops.dispatch import record
from remanence.ops.eager import run_eagerly
from remanence.ops.episodes import Episodes
from remanence.ops.fast_weights import reference
from remanence.ops.fast_weights.reference import Rule
from remanence.ops.recurrence import is_compiled, run_step
from remanence.ops.scan.layout import Tensors

ROUNDING = 64
"""The largest difference between A and its transpose that counts as rounding, in units in the last place."""

LARGEST_HISTORY = 2**28
"""The largest size of all A that a scan may keep, 1 GiB in float32; the attention form needs less memory."""


def can_run(rule: Rule, drive: Tensor, h: Tensor, A: Tensor, episodes: Episodes | None = None) -> bool:
    """Return whether the kernel can run: on CPU tensors, with an A that is symmetric and needs no gradient.

    Samples that are reset must return to h and A of 0.
    """
    if launch.refuses(drive) is not None or drive.numel() == 0 or A.requires_grad:
        return False
    first = () if episodes is None else episodes.reset_state
    if addressing.refuses((*rule[:-3], drive, h, A, *first)) is not None:
        return False
    return _is_symmetric(A) and not any(each.requires_grad or bool(each.any()) for each in first)


def can_scan_on_gpu(rule: Rule, drive: Tensor, h: Tensor, A: Tensor) -> bool:
    """Return whether :func:`scan_steps` runs as one kernel on a GPU, with memory for A after every step."""
    if drive.device.type != "cuda" or drive.shape[1] * A.numel() > LARGEST_HISTORY:
        return False
    return is_compiled(drive, h, A, *(x for x in rule[:-3] if x is not None))


def _is_symmetric(A: Tensor) -> bool:
    """Return whether A is symmetric up to rounding; the attention form computes it as a product of two matrices."""
    return bool((A - A.mT).abs().max() <= ROUNDING * torch.finfo(A.dtype).eps * A.abs().max())


@run_eagerly
def evolve(
    rule: Rule,
    drive: Float[Tensor, "batch time hidden"],
    h: Float[Tensor, "batch hidden"],
    A: Float[Tensor, "batch hidden hidden"],
    episodes: Episodes | None = None,
) -> tuple[Float[Tensor, "batch time hidden"], Float[Tensor, "batch hidden hidden"]]:
    """Compute what :func:`reference.run` does by the kernel; :func:`can_run` must be true."""
    marks: tuple[Tensor | None, Tensor | None] = (None, None)
    if episodes is not None:
        lengths = episodes.lengths
        steps = torch.full((len(drive),), drive.shape[1]) if lengths is None else lengths.to(torch.int64)
        marks = episodes.reset.to(torch.int64), steps
    y, last = record(FastWeightKernel(rule[-3:]), (*rule[:-3], drive, h, A, *marks))
    return y, last


def scan_steps(
    rule: Rule,
    drive: Float[Tensor, "batch time hidden"],
    h: Float[Tensor, "batch hidden"],
    A: Float[Tensor, "batch hidden hidden"],
    episodes: Episodes | None = None,
) -> tuple[Float[Tensor, "batch time hidden"], Float[Tensor, "batch hidden"], Float[Tensor, "batch hidden hidden"]]:
    """Compute what :func:`reference.run` does, and the last h, by a scan of steps on h and A."""
    tensors = [x for x in rule[:-3] if x is not None]
    step = partial(_step, rule.gain is not None, rule[-3:])
    (y, _), (h, A) = run_step(step, [drive], [h, A], tensors, episodes=episodes)
    return y, h, A


@no_type_check  # a wrapper around it would count as something that may change: traced in every call
def _step(is_normed: bool, settings: tuple[Any, ...], state: Tensors, inputs: Tensors, params: Tensors) -> Tensors:
    (h, A), (drive,), (weight, *norm, decay, rate) = state, inputs, params
    rule = Rule(weight, *(norm if is_normed else (None, None)), decay, rate, *settings)
    h = reference.iterate(rule, drive, h, reference.make_read(A), rule.inner_steps)[-1]
    return h, reference.write(rule, A, h)


@dataclass(frozen=True)
class FastWeightKernel:
    """Fast weights over time, with tensors (W, gain, shift, λ, η, drive, h, A, reset, lengths).

    An :class:`remanence.ops.dispatch.OperationKernel`.

    Attributes:
        settings: the fields of the rule that are not tensors.
    """

    settings: tuple[Any, ...]

    def forward(
        self, tensors: Sequence[Any], needs: Sequence[bool] | None
    ) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        """Compute the hidden states, and A after the last step."""
        from remanence.ops.fast_weights import cpu  # it loads a compiler

        y, last, residuals = cpu.forward(*self._unpack(tensors), save_residuals=needs is not None)
        return (y, last), (y, *residuals) if needs is not None else ()

    def backward(
        self,
        tensors: Sequence[Any],
        residuals: Sequence[Tensor],
        grads: Sequence[Tensor | None],
        needs: Sequence[bool],
    ) -> list[Tensor | None]:
        """Compute the gradients of all arguments before A."""
        from remanence.ops.fast_weights import cpu

        rule, _, h, _, *marks = self._unpack(tensors)
        y, *rest = residuals
        found = cpu.backward(rule, cpu.Residuals(*rest), y, h, *grads, *marks, rates=any(needs[3:5]))
        return [*found, None, None, None]

    def reference(self, *tensors: Any) -> tuple[Tensor, Tensor]:
        """Run the plain loop."""
        return reference.run(*self._unpack(tensors))

    def _unpack(self, tensors: Sequence[Any]) -> tuple[Any, ...]:
        return Rule(*tensors[:5], *self.settings), *tensors[5:]
