"""Error correction: whether a network removes errors of its state and keeps what the state stores."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from remanence.analysis.adapters import as_step
from remanence.analysis.canvas import BLUE, GREY, ORANGE, get_axes
from remanence.analysis.lyapunov import lyapunov_exponents
from remanence.analysis.step import Step
from remanence.errors import UserError

SIZES = (0.01, 0.03, 0.1, 0.3, 1.0)  # of the spread of the states
TIMES = 4
LOWEST = 1e-6  # in plots: below it an error is gone


@dataclass(frozen=True, eq=False)
class ErrorCorrection:
    """What remains of errors of the state, and of the differences between stored contents, step by step.

    Attributes:
        times: number of steps before the perturbation, [times].
        sizes: Euclidean norms of the perturbations, [sizes].
        tolerance: the fraction of its initial distance below which an error is corrected.
        distances: the distance to the unperturbed run 0, 1, 2 ... steps after the perturbation, [times, batch, sizes,
            directions, horizon + 1].
        separations: the mean distance to the states of the other samples, which receive the same inputs from the time
            of the perturbation on, [times, batch, horizon + 1]; NaN for a batch of one.
        exponents: the largest Lyapunov exponent of each sample, [batch].
        readout: the same for the distances between readouts; None without ``read``.
    """

    times: Int[Tensor, " times"]
    sizes: Float[Tensor, " sizes"]
    tolerance: float
    distances: Float[Tensor, "times batch sizes directions later"]
    separations: Float[Tensor, "times batch later"]
    exponents: Float[Tensor, " batch"]
    readout: "ErrorCorrection | None" = None

    @property
    def is_corrected(self) -> Bool[Tensor, "times batch sizes directions"]:
        """Whether each perturbation is corrected: its last distance is at most ``tolerance`` times the first."""
        return self._is_small[..., -1]

    @property
    def corrected(self) -> Float[Tensor, " sizes"]:
        """The fraction of the perturbations of each size that are corrected."""
        return self.is_corrected.to(self.sizes).mean((0, 1, 3))

    @property
    def recovery_times(self) -> Float[Tensor, "times batch sizes directions"]:
        """The first step from which the distance stays below the tolerance; infinite if not corrected."""
        small_to_the_end = self._is_small.flip(-1).cumprod(-1).sum(-1)
        steps = self.distances.shape[-1] - small_to_the_end
        return torch.where(self.is_corrected, steps.to(self.sizes), torch.inf)

    @property
    def recovery_time(self) -> Float[Tensor, " sizes"]:
        """The mean recovery time of those perturbations of each size that are corrected; NaN if none is."""
        steps = torch.where(self.is_corrected, self.recovery_times, torch.nan)
        return steps.transpose(2, 3).flatten(0, 2).nanmean(0)

    @property
    def remaining(self) -> Float[Tensor, "sizes later"]:
        """R(k) / R(0): what remains of the errors after k steps, with R the mean distance of a size."""
        return _divide_by_first(self._spread)

    @property
    def retained(self) -> Float[Tensor, " later"]:
        """M(k) / M(0): what remains of the differences between contents, with M the mean separation."""
        return _divide_by_first(self.separations.mean((0, 1)))

    @property
    def predicted(self) -> Float[Tensor, " later"]:
        """exp(λ_1 k), with λ_1 the mean over the batch: what remains of infinitesimal errors."""
        return self.exponents.mean().exp() ** torch.arange(self.distances.shape[-1]).to(self.exponents)

    @property
    def distinguishability(self) -> Float[Tensor, "sizes later"]:
        """The distinguishability ratio M(k) / R(k), for each size and number of steps."""
        return self.separations.mean((0, 1)) / self._spread

    @property
    def gain(self) -> Float[Tensor, " sizes"]:
        """The distinguishability ratio at the horizon, divided by that just after the perturbation."""
        ratio = self.distinguishability
        return ratio[:, -1] / ratio[:, 0]

    @property
    def _is_small(self) -> Tensor:
        return self.distances <= self.tolerance * self.distances[..., :1]

    @property
    def _spread(self) -> Tensor:
        return self.distances.mean((0, 1, 3))

    def plot(self, axes: Any = None) -> Any:
        """Plot what remains of errors of each size, of the differences between contents, and exp(λ_1 k).

        Args:
            axes: matplotlib axes to draw on; default: those of a new figure.

        Returns:
            The axes.
        """
        axes = get_axes(axes)
        steps = range(self.distances.shape[-1])
        for index, (size, share, curve) in enumerate(zip(self.sizes, self.corrected, self.remaining, strict=True)):
            label = f"error of {float(size):.2g}: {float(share):.0%} corrected"
            alpha = (index + 1) / len(self.sizes)
            axes.plot(steps, _cut(curve), color=BLUE, alpha=alpha, linewidth=1.5, label=label)
        axes.plot(steps, _cut(self.retained), color=ORANGE, linewidth=1.5, label="between contents")
        axes.plot(steps, _cut(self.predicted), color=GREY, linestyle="--", linewidth=1, label=r"exp($\lambda_1$ k)")
        axes.axhline(self.tolerance, color=GREY, linestyle=":", linewidth=1, label="tolerance")
        axes.set(yscale="log", xlabel="steps after the perturbation", ylabel="distance, of the first")
        axes.set_title("Error correction")
        axes.legend(fontsize="small", framealpha=0.9)
        return axes


@torch.no_grad()
def error_correction(
    system: Any,
    x: Float[Tensor, "batch time input"],
    h: Float[Tensor, "batch size"] | None = None,
    *,
    sizes: Sequence[float] | None = None,
    directions: int | Float[Tensor, "directions size"] = 8,
    times: Sequence[int] | None = None,
    horizon: int | None = None,
    tolerance: float = 0.1,
    read: Callable[[Tensor], Tensor] | None = None,
    seed: int = 0,
) -> ErrorCorrection:
    """Perturb the state along a driven trajectory, and measure how much of the error remains after some steps.

    The samples of the batch are the contents that the network stores. With h_i the state of sample i at the time of a
    perturbation, and F_i^k the k next steps with the inputs of sample i::

        distance  R_i(k) = ‖F_i^k(h_i + size · direction) - F_i^k(h_i)‖
        separation M_i(k) = mean over j ≠ i of ‖F_i^k(h_j) - F_i^k(h_i)‖
        distinguishability ratio D(k) = M(k) / R(k), of the means over samples, times and directions

    A nonlinear network can correct errors and keep its contents: R falls, M does not, and D grows. A linear one,
    ``h' = A_t h + B_t x``, multiplies errors and differences between contents by the same matrices: it corrects errors
    only to the extent that it forgets, and if it keeps all contents it corrects no error in the directions between
    them. Therefore look at :attr:`ErrorCorrection.gain`, D(horizon) / D(0), too: a leak reduces every error, with a
    gain of 1. (Directions in which A decays fast, and in which no contents differ, do give a linear network a gain;
    pass the directions of interest.)

    This ratio is our definition after the idea of the paper, which compares the spread within a class with the
    separation between classes; its exact normalisation may differ.

    Args:
        system: a system that :func:`as_step` accepts, preferably in float64.
        x: the input of the trajectories, one sample for each content, [batch, time, input]; ``torch.zeros(batch,
            steps, 0)`` for a system without input.
        h: the flat state before the first step, [batch, size]; default: the initial state.
        sizes: Euclidean norms of the perturbations of the flat state; default: 1%, 3%, 10%, 30% and 100% of the root
            mean square distance of the states from their mean.
        directions: number of random directions, or the directions, [directions, size], of any length above 0; default:
            8.
        times: number of steps before each perturbation, 0 for the state before the first step; default: up to 4,
            equally spaced.
        horizon: number of steps after the perturbation; default: half of the time.
        tolerance: an error is corrected if its last distance is at most this fraction of the first; default: 0.1.
        read: a function of the flat states [batch, size] to readouts [batch, outputs], whose distances are measured,
            too.
        seed: seed of the directions; default: 0.

    Returns:
        The distances and separations, with what follows from them.

    Raises:
        ValueError: ``sizes``, ``directions``, ``times``, ``horizon`` or ``tolerance`` is out of range, or the states
            never change and ``sizes`` is missing.

    References:
        Chung et al. 2026, Rethinking State Tracking in Recurrent Models Through Error Control Dynamics,
        arXiv:2605.07755.

    Example:
        >>> flip_flop = as_step(lambda x_t, h: torch.tanh(2 * h), state=torch.zeros(1, 1, dtype=torch.float64))
        >>> contents = torch.tensor([[0.9575], [-0.9575]], dtype=torch.float64)
        >>> found = error_correction(flip_flop, flip_flop.silence(2, 40), contents, sizes=[0.5, 0.9, 1.0])
        >>> bool((found.corrected[:2] == 1).all()), bool(found.corrected[2] < 1)  # the separatrix is at 0
        (True, True)
    """
    step = as_step(system)
    _, states = step.run(x, h)
    horizon = max(x.shape[1] // 2, 1) if horizon is None else horizon
    times = _choose_times(x.shape[1] - horizon) if times is None else times
    _check_times(times, horizon, x.shape[1])
    if not 0 < tolerance < 1:
        raise UserError(f"tolerance must be between 0 and 1, got {tolerance}")
    norms = _choose_sizes(states) if sizes is None else torch.tensor(list(sizes), dtype=torch.float64).to(states)
    if not len(norms) or not bool((norms > 0).all()):
        raise UserError(f"sizes must be numbers above 0, got {norms.tolist()}")
    errors = norms[:, None, None] * _choose_directions(directions, states, seed)
    exponents = lyapunov_exponents(step, x, h, count=1, discard=x.shape[1] // 4).exponents[:, 0]

    def measure(of: Callable[[Tensor], Tensor], readout: ErrorCorrection | None = None) -> ErrorCorrection:
        parts = [(x[:, t : t + horizon], states[:, t]) for t in times]
        distances = torch.stack([_follow_errors(step, *part, errors, of) for part in parts])
        separations = torch.stack([_follow_contents(step, *part, of) for part in parts])
        return ErrorCorrection(torch.tensor(list(times)), norms, tolerance, distances, separations, exponents, readout)

    return measure(torch.clone, None if read is None else measure(read))


def _follow_errors(step: Step, x: Tensor, h: Tensor, errors: Tensor, of: Callable[[Tensor], Tensor]) -> Tensor:
    """Return the distances of perturbed from unperturbed runs, [batch, sizes, directions, later]."""
    perturbed = h[:, None, None] + errors
    return _follow(step, x, h, perturbed.flatten(1, 2), of).unflatten(1, errors.shape[:2])


def _follow_contents(step: Step, x: Tensor, h: Tensor, of: Callable[[Tensor], Tensor]) -> Tensor:
    """Return the mean distance of the other samples' states under each sample's inputs, [batch, later]."""
    distances = _follow(step, x, h, h.expand(len(h), -1, -1), of)
    return distances.sum(1) / (len(h) - 1) if len(h) > 1 else distances[:, 0] * torch.nan


def _follow(step: Step, x: Tensor, h: Tensor, others: Tensor, of: Callable[[Tensor], Tensor]) -> Tensor:
    """Return the distances between runs from ``h`` and from ``others``, [batch, others, later]."""
    count = others.shape[1]
    both = torch.cat([h[:, None], others], 1).flatten(0, 1)
    distances = []
    for k in range(x.shape[1] + 1):
        read = of(both).flatten(1).unflatten(0, (-1, count + 1))
        distances.append((read[:, 1:] - read[:, :1]).norm(dim=-1))
        if k < x.shape[1]:
            both = step(x[:, k].repeat_interleave(count + 1, 0), both)
    return torch.stack(distances, -1)


def _choose_times(last: int) -> Sequence[int]:
    return sorted(range(last, 0, -max(last // TIMES, 1))[:TIMES]) or [0]


def _choose_sizes(states: Tensor) -> Tensor:
    rows = states.flatten(0, 1)
    spread = (rows - rows.mean(0)).square().sum(-1).mean().sqrt()
    if not bool(spread > 0):
        raise UserError("the states are the same at all times and in all samples: pass sizes, the norms of the errors")
    return spread * torch.tensor(SIZES, dtype=torch.float64).to(states)


def _choose_directions(directions: int | Tensor, states: Tensor, seed: int) -> Tensor:
    size = states.shape[-1]
    if isinstance(directions, int):
        if directions < 1:
            raise UserError(f"directions must be at least 1, got {directions}")
        generator = torch.Generator().manual_seed(seed)
        directions = torch.randn(directions, size, generator=generator, dtype=torch.float64)
    if directions.ndim != 2 or len(directions) == 0 or directions.shape[1] != size:
        raise UserError(f"directions must be a number or [directions, {size}], got {list(directions.shape)}")
    lengths = directions.norm(dim=1, keepdim=True)
    if not bool((lengths > 0).all()):
        raise UserError("directions must not be zero: remove the rows that are")
    return (directions / lengths).to(states)


def _check_times(times: Sequence[int], horizon: int, steps: int) -> None:
    if not 1 <= horizon <= steps:
        raise UserError(f"horizon must be 1 to {steps}, the number of steps, got {horizon}")
    if not len(times) or not all(0 <= t <= steps - horizon for t in times):
        raise UserError(
            f"times must be 0 to {steps - horizon}, so that {horizon} of {steps} steps follow, got {list(times)}"
        )


def _divide_by_first(curve: Tensor) -> Tensor:
    return curve / curve[..., :1]


def _cut(curve: Tensor) -> Tensor:
    return curve.where(curve >= LOWEST, torch.nan).cpu()
