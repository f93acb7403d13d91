"""Fast weights as a plain loop, the reference for the kernel."""

from collections.abc import Callable
from typing import Literal, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from remanence.ops.episodes import begin_anew, find_real, mask_padding

NONLINEARITIES = {"relu": torch.relu, "tanh": torch.tanh}

Read = Callable[[Tensor], Tensor]
"""A function that maps v [batch, hidden] to A v."""


class Rule(NamedTuple):
    """The parameters and settings of a time step, except for those of the input.

    Attributes:
        weight_hh: recurrent weights W, [hidden, hidden].
        gain: gain of the layer norm, [hidden]; None if there is no layer norm.
        shift: shift of the layer norm, [hidden]; None if there is no layer norm.
        decay: λ, a tensor with one number.
        rate: η, a tensor with one number.
        inner_steps: number of steps of the inner loop, S.
        nonlinearity: name of f, ``"relu"`` or ``"tanh"``.
        eps: number that the layer norm adds to the variance.
    """

    weight_hh: Float[Tensor, "hidden hidden"]
    gain: Float[Tensor, " hidden"] | None
    shift: Float[Tensor, " hidden"] | None
    decay: Tensor
    rate: Tensor
    inner_steps: int
    nonlinearity: Literal["relu", "tanh"]
    eps: float


def normalize(rule: Rule, z: Float[Tensor, "batch hidden"]) -> Float[Tensor, "batch hidden"]:
    """Apply the layer norm to z; if the squares overflow, return NaN, whereas PyTorch scales by 0 in float32."""
    size = z.shape[-1]
    squares = z.detach().var(-1, correction=size - 1, keepdim=True)  # the sum, for it is divided by 1
    return torch.nn.functional.layer_norm(z, (size,), rule.gain, rule.shift, rule.eps) + 0 * squares


def activate(rule: Rule, z: Float[Tensor, "batch hidden"]) -> Float[Tensor, "batch hidden"]:
    """Apply f, after the layer norm if there is one."""
    return NONLINEARITIES[rule.nonlinearity](z if rule.gain is None else normalize(rule, z))


def iterate(
    rule: Rule, drive: Float[Tensor, "batch hidden"], h: Float[Tensor, "batch hidden"], read: Read, steps: int
) -> list[Tensor]:
    """Run the inner loop over s; return h⁰ ... h^steps. W h + C x + b stays the same in all iterations."""
    boundary = drive + torch.nn.functional.linear(h, rule.weight_hh)
    found = [activate(rule, boundary)]
    for _ in range(steps):
        found.append(activate(rule, boundary + read(found[-1])))
    return found


def make_read(A: Float[Tensor, "batch hidden hidden"]) -> Read:
    """Return the function that maps v to A v."""
    return lambda v: torch.bmm(A, v[..., None])[..., 0]


def write(
    rule: Rule, A: Float[Tensor, "batch hidden hidden"], h: Float[Tensor, "batch hidden"]
) -> Float[Tensor, "batch hidden hidden"]:
    """Compute λ A + η h hᵀ."""
    return rule.decay * A + rule.rate * h[:, :, None] * h[:, None, :]


def run(
    rule: Rule,
    drive: Float[Tensor, "batch time hidden"],
    h: Float[Tensor, "batch hidden"],
    A: Float[Tensor, "batch hidden hidden"],
    reset: Int[Tensor, "batch time"] | None = None,
    lengths: Int[Tensor, " batch"] | None = None,
) -> tuple[Float[Tensor, "batch time hidden"], Float[Tensor, "batch hidden hidden"]]:
    """Compute the hidden states after each time step, and A after the last; a step costs O(hidden²).

    Args:
        rule: the update of a time step.
        drive: C x + b.
        h: before the first step.
        A: before the first step.
        reset: 1 where h and A are set to 0 before a step; default: nowhere.
        lengths: the number of steps of each sample; the hidden states behind them are 0; default: all.
    """
    outputs = []
    for t, drive_t in enumerate(drive.unbind(1)):
        before = A
        if reset is not None:
            h, A = (begin_anew(reset[:, t] != 0, torch.zeros_like(each), each) for each in (h, A))
        h = iterate(rule, drive_t, h, make_read(A), rule.inner_steps)[-1]
        A = write(rule, A, h)
        if lengths is not None:
            A = begin_anew(lengths <= t, before, A)
        outputs.append(h)
    y = torch.stack(outputs, 1)
    return (y if lengths is None else mask_padding(find_real(lengths, len(y), y.shape[1], y.device), y)), A
