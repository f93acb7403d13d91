"""Empirical Gramians, from simulations with small perturbations instead of derivatives."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from remanence.analysis.adapters import as_step
from remanence.analysis.controllable import Controllability
from remanence.analysis.observable import Observability

COPIED = 2**24  # maximum number of elements of the perturbed inputs at a time


@torch.no_grad()
def empirical_controllability(
    system: Any,
    x: Float[Tensor, "batch time input"],
    h: Float[Tensor, "batch size"] | None = None,
    *,
    change: float = 1e-4,
) -> Controllability:
    """Estimate :func:`controllability` by simulation, with a positive and a negative impulse in each channel and step.

    The response is half the difference of the two final states, divided by the size of the impulse. For small impulses
    it converges to the derivative; larger ones show what the linearisation neglects.

    Args:
        system: a system that :func:`as_step` accepts; it need not be differentiable.
        x: the input of the trajectory, [batch, time, input].
        h: the flat state before the first step, [batch, size]; default: the initial state.
        change: the size of an impulse, in units of the input; default: 1e-4; use about 1e-2 in float32.

    Returns:
        The same quantities as :func:`controllability`, from finite differences.

    References:
        Lall, Marsden, Glavaški 2002, Int. J. Robust Nonlinear Control 12, section 3.

    Example:
        >>> layer, x = torch.nn.GRU(2, 3).double(), torch.randn(1, 10, 2).double()
        >>> empirical_controllability(layer, x).rank
        tensor([3])
    """
    step = as_step(system)
    h = step.start(x, h)
    responses = []
    for row, start in zip(x, h, strict=True):
        impulses = change * torch.eye(row.numel(), dtype=x.dtype, device=x.device).unflatten(1, row.shape)
        ends = []
        for part in impulses.split(max(COPIED // max(row.numel() * row.shape[0], 1), 1)):
            up, down = (_run_to_end(step, row + sign * part, start) for sign in (1, -1))
            ends.append((up - down) / (2 * change))
        responses.append(torch.cat(ends).unflatten(0, row.shape))
    return Controllability(torch.stack(responses))


def _run_to_end(step: Any, x: Tensor, start: Tensor) -> Tensor:
    h = start.expand(len(x), -1)
    for x_t in x.unbind(1):
        h = step(x_t, h)
    return h


@torch.no_grad()
def empirical_observability(
    system: Any,
    x: Float[Tensor, "batch time input"],
    h: Float[Tensor, "batch size"] | None = None,
    *,
    change: float = 1e-4,
) -> Observability:
    """Estimate :func:`observability` by simulation, with a positive and a negative change of each state component.

    Args:
        system: a system that :func:`as_step` accepts; it need not be differentiable.
        x: the input of the trajectory, [batch, time, input].
        h: the flat state before the first step, [batch, size]; default: the initial state.
        change: the size of a change, in units of the state; default: 1e-4; use about 1e-2 in float32.

    Returns:
        The same quantities as :func:`observability`, from finite differences.

    References:
        Powel and Morgansen 2015, CDC, "Empirical observability Gramian rank condition for weak observability of
        nonlinear systems with control", section II.

    Example:
        >>> layer, x = torch.nn.GRU(2, 3).double(), torch.randn(1, 10, 2).double()
        >>> empirical_observability(layer, x).rank
        tensor([3])
    """
    step = as_step(system)
    h = step.start(x, h)
    moved = change * torch.eye(step.size, dtype=h.dtype, device=h.device)
    responses = []
    for row, start in zip(x, h, strict=True):
        inputs = row.expand(step.size, -1, -1)
        up, down = (step.run(inputs, start + sign * moved)[0].flatten(2) for sign in (1, -1))
        responses.append(((up - down) / (2 * change)).permute(1, 2, 0))
    return Observability(torch.stack(responses))
