"""How well something is remembered, by how long ago it was."""

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
    """What a linear probe reads out of the state, by the delay since it was put in.

    Attributes:
        delays: steps since the input, ascending; 0: the state just after it.
        values: on held-out data, for each trial, [trials, delays].
        chance: what a guess gives.
        measure: what the values are.
    """

    delays: Int[Tensor, " delays"]
    values: Float[Tensor, "trials delays"]
    chance: float
    measure: str

    @property
    def mean(self) -> Float[Tensor, " delays"]:
        """Over trials."""
        return self.values.mean(0)

    def band(self, confidence: float = 0.95) -> tuple[Float[Tensor, " delays"], Float[Tensor, " delays"]]:
        """Compute the confidence band of the mean, by Student's t over trials; NaN with one trial.

        Args:
            confidence: that it covers the mean at one delay.
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
        """Σ (value - chance) / (1 - chance) over the delays, each counted for the steps since the one before it.

        Of squared correlations at the delays 1, 2, 3 ... this is the memory capacity.
        """
        steps = torch.diff(self.delays, prepend=self.delays[:1] - 1)
        return ((self.values - self.chance) / (1 - self.chance) * steps).sum(1)

    @property
    def half_life(self) -> float:
        """The delay at which the mean, less chance, is half of what it is at the first one.

        Infinite if it never is; NaN if nothing is read at the first one either.
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
        """Mean and 95% band over the delay, and chance.

        Args:
            axes: matplotlib axes to draw on; default: those of a new figure.
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
