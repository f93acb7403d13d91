"""Retention curves: how well an input can be read from the state, by the time since it was presented."""

import math
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from remanence.analysis.canvas import BLUE, GREY, get_axes
from remanence.extras import require_extra


@dataclass(frozen=True, eq=False)
class RetentionCurve:
    """How well a linear probe reads an input from the state, by the delay since that input.

    Attributes:
        delays: number of steps since the input, ascending; 0 is the state just after it.
        values: the measure on held-out data, [trials, delays].
        chance: the value of a guess.
        measure: the name of the measure.
    """

    delays: Int[Tensor, " delays"]
    values: Float[Tensor, "trials delays"]
    chance: float
    measure: str

    @property
    def mean(self) -> Float[Tensor, " delays"]:
        """The mean over trials, [delays]."""
        return self.values.mean(0)

    def band(self, confidence: float = 0.95) -> tuple[Float[Tensor, " delays"], Float[Tensor, " delays"]]:
        """Compute the confidence band of the mean, by Student's t over trials.

        Args:
            confidence: the probability of covering the mean at each delay; default: 0.95.

        Returns:
            Lower and upper limits, [delays] each; NaN with one trial.
        """
        with require_extra("analysis", "a confidence band"):
            from scipy.stats import t

        trials = len(self.values)
        if trials < 2:
            return self.mean * math.nan, self.mean * math.nan
        half = float(t.ppf((1 + confidence) / 2, trials - 1)) * self.values.std(0) / math.sqrt(trials)
        return self.mean - half, self.mean + half

    @property
    def area(self) -> Float[Tensor, " trials"]:
        """Σ (value - chance) / (1 - chance) over delays, each weighted by the number of steps since the previous one.

        For squared correlations at the delays 1, 2, 3 ..., this is the memory capacity.
        """
        steps = torch.diff(self.delays, prepend=self.delays[:1] - 1)
        return ((self.values - self.chance) / (1 - self.chance) * steps).sum(1)

    @property
    def half_life(self) -> float:
        """The delay at which the mean above chance has fallen to half of its value at the first delay.

        Infinite if it never falls to half; NaN if the mean at the first delay is not above chance.
        """
        if self.mean[0] <= self.chance:
            return math.nan
        left = ((self.mean - self.chance) / (self.mean[0] - self.chance)).tolist()
        delays = self.delays.tolist()
        for index in range(1, len(left)):
            if left[index] <= 0.5:
                share = (left[index - 1] - 0.5) / (left[index - 1] - left[index])
                return delays[index - 1] + share * (delays[index] - delays[index - 1])
        return math.inf

    def plot(self, axes: Any = None) -> Any:
        """Plot the mean with its 95% band over the delay, and chance.

        Args:
            axes: matplotlib axes to draw on; default: those of a new figure.

        Returns:
            The axes.
        """
        axes = get_axes(axes)
        low, high = self.band()
        axes.plot(self.delays, self.mean, color=BLUE, marker="o" if len(self.delays) < 30 else None, markersize=3)
        axes.fill_between(self.delays, low, high, color=BLUE, alpha=0.2, linewidth=0)
        axes.axhline(self.chance, color=GREY, linestyle="--", linewidth=1)
        if math.isfinite(self.half_life):
            axes.axvline(self.half_life, color=GREY, linestyle=":", linewidth=1)
        title = f"Retention: area {self.area.mean():.3g}, half-life {self.half_life:.3g}"
        axes.set(
            xlabel="delay, steps", ylabel=self.measure, title=title, ylim=(min(0, float(low.nan_to_num().min())), 1.03)
        )
        return axes
