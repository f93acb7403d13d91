"""Which loop carries fast weights through time."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from remanence._kernels import addressing, launch
from remanence.ops.dispatch import record
from remanence.ops.fast_weights import reference
from remanence.ops.fast_weights.reference import Rule
from remanence.ops.uncompiled import uncompiled

ROUNDING = 64
"""How many units in the last place A may differ from its transpose."""


def fits(rule: Rule, drive: Tensor, h: Tensor, A: Tensor) -> bool:
    """Whether the kernel applies: to numbers on a CPU, and to an A that it could itself have written."""
    plain = launch.refuses(drive) is None and drive.numel() > 0
    return plain and not A.requires_grad and addressing.refuses((*rule[:-3], drive, h, A)) is None and _symmetric(A)


def _symmetric(A: Tensor) -> bool:
    """Up to rounding: the attention form writes a product of two matrices."""
    return bool((A - A.mT).abs().max() <= ROUNDING * torch.finfo(A.dtype).eps * A.abs().max())


@uncompiled
def evolve(
    rule: Rule,
    drive: Float[Tensor, "batch time hidden"],
    h: Float[Tensor, "batch hidden"],
    A: Float[Tensor, "batch hidden hidden"],
) -> tuple[Float[Tensor, "batch time hidden"], Float[Tensor, "batch hidden hidden"]]:
    """What :func:`reference.run` gives, by the kernel; only where it :func:`fits`."""
    kernel = FastWeighting(rule[-3:])
    y, last = record(kernel, (*rule[:-3], drive, h, A))
    return y, last


@dataclass(frozen=True)
class FastWeighting:
    """Fast weights over time, of (W, gain, shift, λ, η, drive, h, A), as :func:`remanence.ops.dispatch.record` runs it.

    Attributes:
        settings: the rest of the rule.
    """

    settings: tuple[Any, ...]

    def forward(
        self, tensors: Sequence[Any], needs: Sequence[bool] | None
    ) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        """Hidden states, and A after the last step."""
        from remanence.ops.fast_weights import cpu  # a compiler comes with it

        rule, drive, h, A = self._given(tensors)
        y, last, kept = cpu.forward(rule, drive, h, A, keep=needs is not None)
        return (y, last), (y, *kept) if needs is not None else ()

    def backward(
        self,
        tensors: Sequence[Any],
        kept: Sequence[Tensor],
        grads: Sequence[Tensor | None],
        needs: Sequence[bool],
    ) -> list[Tensor | None]:
        """Gradients of all but A."""
        from remanence.ops.fast_weights import cpu

        rule, _, h, _ = self._given(tensors)
        y, *rest = kept
        of_y, of_A = grads
        return [*cpu.backward(rule, cpu.Kept(*rest), y, h, of_y, of_A, rates=any(needs[3:5])), None]

    def reference(self, *tensors: Any) -> tuple[Tensor, Tensor]:
        """The plain loop."""
        return reference.run(*self._given(tensors))

    def _given(self, tensors: Sequence[Any]) -> tuple[Rule, Tensor, Tensor, Tensor]:
        *of_rule, drive, h, A = tensors
        return Rule(*of_rule, *self.settings), drive, h, A
