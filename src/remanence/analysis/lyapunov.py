"""Lyapunov exponents: how fast nearby trajectories diverge or converge."""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from remanence.analysis.adapters import as_step
from remanence.analysis.canvas import BLUE, GREY, get_axes
from remanence.errors import UserError

CHUNK = 64  # number of steps whose Jacobians are computed at once


@dataclass(frozen=True, eq=False)
class LyapunovExponents:
    """Lyapunov exponents, per unit of time.

    Attributes:
        exponents: the exponents, [batch, count], descending up to the noise of the estimate.
        running: the running mean up to each step, [batch, time, count], which shows whether the estimate has converged.
    """

    exponents: Float[Tensor, "batch count"]
    running: Float[Tensor, "batch time count"]

    @property
    def kaplan_yorke_dimension(self) -> Float[Tensor, " batch"]:
        """D = j + (λ_1 + ... + λ_j) / |λ_{j+1}|, where j is the largest number whose sum of exponents is at least 0."""
        ordered = self.exponents.sort(-1, descending=True).values
        sums = ordered.cumsum(-1)
        j = (sums >= 0).sum(-1, keepdim=True)
        before = torch.where(j > 0, sums.gather(-1, (j - 1).clamp_min(0)), 0)
        after = ordered.gather(-1, j.clamp_max(ordered.shape[-1] - 1)).abs()
        dimension = torch.where(j < ordered.shape[-1], j + before / after, j.to(ordered.dtype))
        return dimension[:, 0]

    def plot(self, axes: Any = None) -> Any:
        """Plot the running means, averaged over the batch; they are flat at the end if the estimate has converged.

        Args:
            axes: matplotlib axes to draw on; default: those of a new figure.

        Returns:
            The axes.
        """
        axes = get_axes(axes)
        steps = self.running.shape[1]
        axes.plot(range(1, steps + 1), self.running.mean(0).cpu(), color=BLUE, linewidth=1)
        axes.axhline(0, color=GREY, linewidth=1, linestyle="--")
        if steps > 50:
            axes.set_xscale("log")
        axes.set(xlabel="steps", ylabel="mean so far, per unit of time", title="Lyapunov exponents")
        return axes


@torch.no_grad()
def lyapunov_exponents(
    system: Any,
    x: Float[Tensor, "batch time input"],
    h: Float[Tensor, "batch size"] | None = None,
    *,
    count: int | None = None,
    discard: int = 0,
    time_step: float = 1.0,
) -> LyapunovExponents:
    """Compute Lyapunov exponents along a trajectory, by repeated QR decomposition.

    With the Jacobian J_t of each step and an orthonormal Q_0::

        Q_{t+1} R_{t+1} = J_t Q_t,    λ_i = mean over t of log |R_ii| / time_step

    Args:
        system: a system that :func:`as_step` accepts, preferably in float64.
        x: the input of the trajectory, [batch, time, input]; ``torch.zeros(batch, steps, 0)`` for a system without
            input.
        h: the flat state before the first step, [batch, size]; default: the initial state.
        count: number of exponents to compute, the largest ones; default: all.
        discard: number of initial steps to exclude, in which trajectory and Q converge; default: 0.
        time_step: duration of a step; default: 1.

    Returns:
        The exponents and their running means.

    Raises:
        ValueError: ``count`` or ``discard`` is out of range.

    References:
        Benettin et al. 1980, Meccanica 15, parts 1 and 2; Eckmann and Ruelle 1985, Rev. Mod. Phys. 57, section III.

    Example:
        >>> logistic = as_step(lambda x_t, h: 4 * h * (1 - h), state=torch.tensor([[0.2]], dtype=torch.float64))
        >>> found = lyapunov_exponents(logistic, logistic.silence(steps=5000))
        >>> round(float(found.exponents), 2)  # ln 2
        0.69
    """
    step = as_step(system)
    h = step.start(x, h)
    count = step.size if count is None else count
    if not 1 <= count <= step.size:
        raise UserError(f"count must be 1 to {step.size}, the size of the state, got {count}")
    if not 0 <= discard < x.shape[1]:
        raise UserError(f"discard must be 0 to {x.shape[1] - 1}, below the number of steps, got {discard}")
    q = torch.eye(step.size, dtype=h.dtype, device=h.device)[:, :count].expand(len(h), -1, -1)
    logs = []
    for part in x.split(CHUNK, 1):
        _, states = step.run(part, h)
        jacobians = step.jacobian(part.flatten(0, 1), states[:, :-1].flatten(0, 1)).unflatten(0, part.shape[:2])
        for jacobian in jacobians.unbind(1):
            q, r = torch.linalg.qr(jacobian @ q)
            logs.append(r.diagonal(dim1=-2, dim2=-1).abs().log())
        h = states[:, -1]
    growth = torch.stack(logs[discard:], 1) / time_step
    after = torch.arange(1, growth.shape[1] + 1, dtype=h.dtype, device=h.device)[:, None]
    return LyapunovExponents(growth.mean(1), growth.cumsum(1) / after)
