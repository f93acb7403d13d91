"""Whether the values stay in hand."""

import torch
from jaxtyping import Float
from torch import Tensor


class FastlaneOverflowWarning(UserWarning):
    """Values of a network that fires grew beyond all numbers, or are not numbers any more."""


def compute_effective_map(
    weights: Float[Tensor, "neurons neurons"],
    rank: Tensor,
    keep: float,
    ticks: int,
    slopes: Float[Tensor, " neurons"] | None = None,
) -> Float[Tensor, "neurons neurons"]:
    """Compute J, by which a small change δ of all values becomes J δ one time step later.

    With S the slopes f' on the diagonal, W' the weights from neurons that fire before their receiver and W" the others,
    the new values solve ``n' = S (keep n + W' n' + W" n)``.

    Args:
        weights: [receivers, senders].
        rank: the place of each neuron in the order of firing.
        keep: the share of its value that a neuron keeps.
        ticks: firings in a time step.
        slopes: f' of each neuron; default: 1, all active.
    """
    forward = rank[:, None] > rank
    S = torch.ones_like(weights[0]) if slopes is None else slopes
    identity = torch.eye(len(weights), dtype=weights.dtype, device=weights.device)
    new, old = torch.where(forward, weights, 0), torch.where(forward, 0, weights)
    once = torch.linalg.solve(identity - S[:, None] * new, S[:, None] * (keep * identity + old))
    return torch.linalg.matrix_power(once, ticks)


def describe_overflow(values: Float[Tensor, "neurons time batch"]) -> str | None:
    """Describe which neurons hold values that are not finite, and from which step; None if there is none."""
    if bool(values.sum().isfinite()):  # one number that speaks for all; it may overflow alone, so look again
        return None
    wrong = ~values.isfinite()
    steps = wrong.any(2).any(0).nonzero()
    if not len(steps):
        return None
    step = int(steps[0])
    neurons = wrong[:, step].any(1).nonzero().flatten().tolist()
    named = ", ".join(map(str, neurons[:5])) + ", ..." * (len(neurons) > 5)
    return f"{len(neurons)} neurons ({named}) hold values that are not finite from step {step} of {len(wrong[0])} on"
