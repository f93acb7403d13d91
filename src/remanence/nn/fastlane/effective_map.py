"""Growth of the values: the linearised map of one time step, and a check for overflow."""

import torch
from jaxtyping import Float
from torch import Tensor


class FastlaneOverflowWarning(UserWarning):
    """Values of a :class:`Fastlane` are infinite or NaN."""


def compute_effective_map(
    weights: Float[Tensor, "neurons neurons"],
    rank: Tensor,
    keep: float,
    ticks: int,
    slopes: Float[Tensor, " neurons"] | None = None,
) -> Float[Tensor, "neurons neurons"]:
    """Compute the Jacobian J of one time step, by which a small change δ of all values becomes J δ.

    The new values solve ``n' = S (keep n + W' n' + W" n)``, where S is the diagonal matrix of slopes f', W' contains
    the weights from neurons that fire before their receiver, and W" all others.

    Args:
        weights: the weights, [receivers, senders].
        rank: the position of each neuron in the order of firing.
        keep: the fraction of its value that a neuron keeps.
        ticks: number of firings in a time step.
        slopes: f' of each neuron; default: 1, all neurons active.

    Returns:
        J, [neurons, neurons].
    """
    forward = rank[:, None] > rank
    S = torch.ones_like(weights[0]) if slopes is None else slopes
    identity = torch.eye(len(weights), dtype=weights.dtype, device=weights.device)
    new, old = torch.where(forward, weights, 0), torch.where(forward, 0, weights)
    once = torch.linalg.solve(identity - S[:, None] * new, S[:, None] * (keep * identity + old))
    return torch.linalg.matrix_power(once, ticks)


def describe_overflow(values: Float[Tensor, "neurons time batch"]) -> str | None:
    """Describe which neurons have values that are not finite, and since which step; None if all are finite."""
    if bool(values.sum().isfinite()):  # fast; a sum that is not finite may have overflowed itself, so check each value
        return None
    wrong = ~values.isfinite()
    steps = wrong.any(2).any(0).nonzero()
    if not len(steps):
        return None
    step = int(steps[0])
    neurons = wrong[:, step].any(1).nonzero().flatten().tolist()
    named = ", ".join(map(str, neurons[:5])) + ", ..." * (len(neurons) > 5)
    return f"{len(neurons)} neurons ({named}) hold values that are not finite from step {step} of {len(wrong[0])} on"
