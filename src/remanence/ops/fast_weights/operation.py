"""Which loop carries fast weights through time, and the kernel as one node of the autograd graph."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from remanence._kernels import addressing
from remanence.ops import again
from remanence.ops.fast_weights import reference
from remanence.ops.fast_weights.reference import Rule
from remanence.ops.uncompiled import uncompiled

ROUNDING = 64
"""How many units in the last place A may differ from its transpose."""


def fits(rule: Rule, drive: Tensor, h: Tensor, A: Tensor) -> bool:
    """Whether the kernel applies: to numbers on a CPU, and to an A that it could itself have written."""
    plain = drive.device.type == "cpu" and drive.dtype in (torch.float32, torch.float64) and drive.numel() > 0
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
    tensors = (*rule[:-3], drive, h, A)
    # Within the function gradients are off, whoever called it.
    keep = torch.is_grad_enabled() and any(tensor is not None and tensor.requires_grad for tensor in tensors)
    return _Evolution.apply(keep, rule[-3:], *tensors)


class _Evolution(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, keep: bool, settings: tuple[Any, ...], *tensors: Any) -> tuple[Tensor, Tensor]:
        from remanence.ops.fast_weights import cpu  # a compiler comes with it

        *of_rule, drive, h, A = tensors
        y, last, kept = cpu.forward(Rule(*of_rule, *settings), drive, h, A, keep=keep)
        ctx.settings, ctx.cpu = settings, cpu
        ctx.save_for_backward(*tensors, y, *kept)
        ctx.set_materialize_grads(False)
        return y, last

    @staticmethod
    def backward(ctx: Any, *above: Tensor | None) -> tuple[Tensor | None, ...]:
        *tensors, y, u, scale, marks = ctx.saved_tensors
        *of_rule, _, h, _ = tensors
        rule, kept = Rule(*of_rule, *ctx.settings), ctx.cpu.Kept(u, scale, marks)
        grads = addressing.resolve(above)
        if again.is_needed(grads):

            def plain(*tensors: Any) -> tuple[Tensor, Tensor]:
                *of_rule, drive, h, A = tensors
                return reference.run(Rule(*of_rule, *ctx.settings), drive, h, A)

            return None, None, *again.gradients(plain, grads, tensors)
        rates = any(ctx.needs_input_grad[5:7])
        return None, None, *ctx.cpu.backward(rule, kept, y, h, *grads, rates=rates), None
