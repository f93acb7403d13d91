"""Learning curves of several seeds as one."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from remanence.runs.reading import Run

Against = Literal["step", "seconds"]
GRID = 200  # points at most: more than a screen shows


@dataclass(frozen=True, eq=False)
class MeanCurve:
    """Mean and sample standard deviation over seeds on a common grid.

    Attributes:
        x: steps or seconds, from where every seed has a value to where the last one ends.
        mean: the mean of the validation metric; a seed that ended earlier is held at its last value.
        median: the median, in the same way.
        spread: None with one seed.
        ends: (x, metric) where each seed ended.
    """

    x: np.ndarray
    mean: np.ndarray
    median: np.ndarray
    spread: np.ndarray | None
    ends: list[tuple[float, float]]


def compute_mean_curve(runs: Sequence[Run], against: Against) -> MeanCurve | None:
    """Average the validation metric of runs that have at least one epoch; None if none has."""
    curves = [
        (run.curve[against], run.curve["validation_metric"]) for run in runs if len(run.curve["validation_metric"])
    ]
    if not curves:
        return None
    start = max(x[0] for x, _ in curves)
    grid = np.unique(np.concatenate([x for x, _ in curves]))
    grid = grid[grid >= start]
    if len(grid) > GRID:
        grid = np.linspace(grid[0], grid[-1], GRID)
    values = np.stack([np.interp(grid, x, y) for x, y in curves])
    spread = values.std(axis=0, ddof=1) if len(curves) > 1 else None
    ends = [(float(x[-1]), float(y[-1])) for x, y in curves]
    return MeanCurve(grid, values.mean(axis=0), np.median(values, axis=0), spread, ends)
