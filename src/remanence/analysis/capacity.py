"""Capacity of associative memories: quality of recall by the number of stored patterns."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from remanence.analysis.canvas import BLUE, GREY, get_axes
from remanence.errors import UserError


@dataclass(frozen=True, eq=False)
class CapacityCurve:
    """Overlap of recalled with stored patterns, by the number of patterns.

    Attributes:
        ratios: q = s / N, the number of patterns over the number of channels.
        overlaps: mean over channels and patterns of recalled times stored values, [ratios, trials]: 1 if recall is
            perfect, 0 at chance.
    """

    ratios: Float[Tensor, " ratios"]
    overlaps: Float[Tensor, "ratios trials"]

    def capacity(self, overlap: float = 0.9) -> float:
        """Interpolate the ratio at which the mean overlap falls below a level.

        Args:
            overlap: the level; default: 0.9.

        Returns:
            The ratio; NaN if the overlap never falls below the level.
        """
        mean, ratios = self.overlaps.mean(1).tolist(), self.ratios.tolist()
        for index, value in enumerate(mean):
            if value < overlap:
                if index == 0:
                    return ratios[0]
                share = (mean[index - 1] - overlap) / (mean[index - 1] - value)
                return ratios[index - 1] + share * (ratios[index] - ratios[index - 1])
        return float("nan")

    def plot(self, axes: Any = None) -> Any:
        """Plot the overlap over q, for each trial and the mean.

        Args:
            axes: matplotlib axes to draw on; default: those of a new figure.

        Returns:
            The axes.
        """
        axes = get_axes(axes)
        axes.plot(self.ratios, self.overlaps, ".", color=BLUE, alpha=0.3, markersize=4)
        axes.plot(self.ratios, self.overlaps.mean(1), color=BLUE)
        axes.axvline(0.138, color=GREY, linestyle=":", linewidth=1, label="0.138, Hebb's rule, N → ∞")
        axes.set(xlabel="patterns per channel, q = s/N", ylabel="overlap", title="Capacity", ylim=(-0.03, 1.03))
        axes.legend(frameon=False)
        return axes


@torch.no_grad()
def capacity_curve(
    make: Callable[[], Any],
    size: int,
    ratios: Sequence[float],
    *,
    values: int | None = None,
    distortion: float = 0.0,
    trials: int = 5,
    seed: int = 0,
) -> CapacityCurve:
    """Measure how well a memory recalls random patterns of -1 and 1 from distorted cues, by the number of patterns.

    Args:
        make: a function that returns an empty memory, whose method ``store(patterns)`` stores and which recalls when
            called: :class:`remanence.nn.Hopfield`, :class:`remanence.nn.ModernHopfield`,
            :class:`remanence.nn.LinearAssociator`, the fast weights of a layer
            (:class:`remanence.analysis.FastMemory`), or your own. Only the signs of recalled values count.
        size: number of channels N.
        ratios: q = s / N, the number of patterns over the number of channels, ascending.
        values: number of channels of random values, which are stored with the patterns as keys
            (``store(keys, values)``); default: each pattern recalls itself.
        distortion: fraction of the channels of a cue whose sign is flipped; default: 0.
        trials: number of independent sets of patterns; default: 5.
        seed: seed of the patterns and their distortion; default: 0.

    Returns:
        The overlap of recalled with stored patterns, for each ratio and trial.

    Raises:
        ValueError: a ratio corresponds to less than one pattern, or the distortion is not between 0 and 1.

    Example:
        >>> from remanence.nn import Hopfield
        >>> curve = capacity_curve(lambda: Hopfield(100), 100, [0.05, 0.4])
        >>> [round(float(mean), 1) for mean in curve.overlaps.mean(1)]
        [1.0, 0.5]
    """
    counts = [round(ratio * size) for ratio in ratios]
    if not counts or min(counts) < 1:
        raise UserError(f"ratios must be at least 1 / {size}, that is at least one pattern each, got {list(ratios)}")
    if not 0 <= distortion <= 1:
        raise UserError(f"distortion must be between 0 and 1, got {distortion}")
    generator = torch.Generator().manual_seed(seed)
    overlaps = [
        [
            _measure_overlap(make(), _draw_signs(generator, count, size), values, distortion, generator)
            for _ in range(trials)
        ]
        for count in counts
    ]
    return CapacityCurve(torch.tensor(counts) / size, torch.tensor(overlaps))


def _draw_signs(generator: torch.Generator, *shape: int) -> Tensor:
    return 2.0 * torch.randint(2, shape, generator=generator) - 1


def _measure_overlap(
    memory: Any, keys: Tensor, values: int | None, distortion: float, generator: torch.Generator
) -> float:
    if values is None:
        stored = keys
        memory.store(keys)
    else:
        stored = _draw_signs(generator, len(keys), values)
        memory.store(keys, stored)
    # Exactly this fraction of every cue, at random positions.
    wrong = torch.rand(keys.shape, generator=generator).argsort(1) < round(distortion * keys.shape[1])
    return float((memory(torch.where(wrong, -keys, keys)).sign() * stored).mean())
