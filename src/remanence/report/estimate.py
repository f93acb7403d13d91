"""Estimates from several seeds, and their formatting."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import fmean, median, stdev

NOTHING = "–"
SOLVED = 0.1
"""A seed has solved a task if its metric is at most this share of chance."""

SPREAD_NOTE = "Mean ± sample standard deviation over seeds."
DISAGREEMENT_NOTE = (
    " Where that would reach beyond what is possible, seeds went different ways: median (lowest to highest), and how "
    "many of them solved the task (at most a tenth of chance)."
)


@dataclass(frozen=True)
class Estimate:
    """The values of several seeds as one figure.

    Attributes:
        values: one for each seed; at least one.
        most: what no value can exceed.
    """

    values: tuple[float, ...]
    most: float = math.inf

    @classmethod
    def of(cls, values: Sequence[float], most: float = math.inf) -> "Estimate | None":
        """Create an estimate from values; None if there is no value."""
        return cls(tuple(values), most) if values else None

    @cached_property
    def mean(self) -> float:
        """Their mean."""
        return fmean(self.values)

    @cached_property
    def spread(self) -> float | None:
        """Their sample standard deviation; one value alone has none."""
        return stdev(self.values) if len(self.values) > 1 else None

    @cached_property
    def disagrees(self) -> bool:
        """Whether mean ± spread would reach below 0, or beyond the most, where no value is."""
        if self.spread is None:
            return False
        below = self.mean - self.spread < 0 <= min(self.values)
        return below or self.mean + self.spread > self.most >= max(self.values)

    @property
    def centre(self) -> float:
        """The mean; the median where seeds disagree."""
        return median(self.values) if self.disagrees else self.mean

    @property
    def ends(self) -> tuple[float, float]:
        """One spread to each side of the mean; the lowest and the highest value where seeds disagree."""
        if self.disagrees:
            return min(self.values), max(self.values)
        return self.mean - (self.spread or 0.0), self.mean + (self.spread or 0.0)

    def count_solved(self, chance: float) -> int:
        """Count the seeds that solved a task with this level of chance."""
        return sum(value <= SOLVED * chance for value in self.values)


def is_share(metric: str | None) -> bool:
    """Whether a metric is a share of one, to be shown in percent: its name ends in "rate"."""
    return metric is not None and metric.endswith("rate")


def format_estimate(estimate: Estimate | None, metric: str | None = None) -> str:
    """Format ``1.81 ± 0.12``: three digits of the mean, the spread to the same place; rates in percent.

    ``3.27 (3.15 to 56.3)`` where seeds disagree: median, lowest and highest.
    """
    if estimate is None:
        return NOTHING
    factor = 100 if is_share(metric) else 1
    if estimate.disagrees:
        centre, low, high = (round_values([factor * value])[0] for value in (estimate.centre, *estimate.ends))
        return f"{centre} ({low} to {high})"
    values = [factor * value for value in (estimate.mean, estimate.spread) if value is not None]
    return " ± ".join(round_values(values))


def round_values(values: Sequence[float]) -> list[str]:
    """Round the first value to three digits, the others to the same place."""
    largest = max(map(abs, values))
    if largest and not 1e-3 <= largest < 1e6:
        return [f"{value:.2e}" for value in values]
    leading = values[0] or largest
    places = min(4, max(0, 2 - math.floor(math.log10(abs(leading))))) if leading else 0
    return [f"{value:.{places}f}" for value in values]
