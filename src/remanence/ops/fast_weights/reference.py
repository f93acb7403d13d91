"""Fast weights as a plain loop: what the kernel is compared with."""

from collections.abc import Callable
from typing import Literal, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

NONLINEARITIES = {"relu": torch.relu, "tanh": torch.tanh}

Read = Callable[[Tensor], Tensor]
"""Takes v [batch, hidden] to A v."""


class Rule(NamedTuple):
    """What happens in a time step, apart from the input.

    Attributes:
        weight_hh: W.
        gain: of the layer norm; None: there is none.
        shift: of the layer norm.
        decay: λ, one number.
        rate: η, one number.
        inner_steps: S.
        nonlinearity: f.
        eps: added to the variance by the layer norm.
    """

    weight_hh: Float[Tensor, "hidden hidden"]
    gain: Float[Tensor, " hidden"] | None
    shift: Float[Tensor, " hidden"] | None
    decay: Tensor
    rate: Tensor
    inner_steps: int
    nonlinearity: Literal["relu", "tanh"]
    eps: float


def normed(rule: Rule, z: Float[Tensor, "batch hidden"]) -> Float[Tensor, "batch hidden"]:
    """What the layer norm makes of z; NaN where the squares overflow, which torch takes for a scale of 0 in float32."""
    size = z.shape[-1]
    squares = z.detach().var(-1, correction=size - 1, keepdim=True)  # the sum, for it is divided by 1
    return torch.nn.functional.layer_norm(z, (size,), rule.gain, rule.shift, rule.eps) + 0 * squares


def iterates(
    rule: Rule, drive: Float[Tensor, "batch hidden"], h: Float[Tensor, "batch hidden"], read: Read, steps: int
) -> list[Tensor]:
    """The inner loop over s, h⁰ ... h^steps; the boundary conditions W h + C x + b stay in force throughout."""

    def f(z: Tensor) -> Tensor:
        return NONLINEARITIES[rule.nonlinearity](z if rule.gain is None else normed(rule, z))

    boundary = drive + torch.nn.functional.linear(h, rule.weight_hh)
    found = [f(boundary)]
    for _ in range(steps):
        found.append(f(boundary + read(found[-1])))
    return found


def reading(A: Float[Tensor, "batch hidden hidden"]) -> Read:
    """Takes v to A v."""
    return lambda v: torch.bmm(A, v[..., None])[..., 0]


def write(
    rule: Rule, A: Float[Tensor, "batch hidden hidden"], h: Float[Tensor, "batch hidden"]
) -> Float[Tensor, "batch hidden hidden"]:
    """λ A + η h hᵀ."""
    return rule.decay * A + rule.rate * h[:, :, None] * h[:, None, :]


def run(
    rule: Rule,
    drive: Float[Tensor, "batch time hidden"],
    h: Float[Tensor, "batch hidden"],
    A: Float[Tensor, "batch hidden hidden"],
) -> tuple[Float[Tensor, "batch time hidden"], Float[Tensor, "batch hidden hidden"]]:
    """Hidden states after each time step, and A after the last: A is carried along, O(hidden²) a step.

    Args:
        rule: what happens in a step.
        drive: C x + b.
        h: before the first step.
        A: before the first step.
    """
    outputs = []
    for drive_t in drive.unbind(1):
        h = iterates(rule, drive_t, h, reading(A), rule.inner_steps)[-1]
        A = write(rule, A, h)
        outputs.append(h)
    return torch.stack(outputs, 1), A
