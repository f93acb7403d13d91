"""Basins of attraction of systems with two state variables."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from remanence.analysis.adapters import as_step
from remanence.analysis.canvas import GREY, get_axes
from remanence.analysis.fixed_point_search import FixedPoints, draw_points, fixed_points
from remanence.analysis.step import Step
from remanence.errors import UserError
from remanence.extras import require_extra

Region = tuple[tuple[float, float], tuple[float, float]]
SECTIONS, CUTS = 16, 8  # the interval that contains the border is divided by 16, 8 times: 16^-8 of a cell
NEAR = 1e-2  # a state has arrived at this fraction of the smallest distance between attractors
PALE = ("#cfe2f3", "#fce5cd", "#d9ead3", "#ead1dc", "#fff2cc", "#d9d2e9")


@dataclass(frozen=True, eq=False)
class Basins:
    """The attractor that each state of a grid converges to.

    Attributes:
        points: the fixed points.
        region: ((lowest, highest) first component, (lowest, highest) second component).
        labels: the index into ``points.attractors`` for each state, [second component, first component]; -1 for states
            that reach no attractor within the simulated steps, such as those on the separatrix.
        separatrix: points on the border between two basins, found by repeated subdivision, [border, 2].
    """

    points: FixedPoints
    region: Region
    labels: Int[Tensor, "second first"]
    separatrix: Float[Tensor, "border 2"]

    @property
    def shares(self) -> Float[Tensor, " attractors"]:
        """The fraction of the region that belongs to each attractor."""
        return torch.stack([(self.labels == i).double().mean() for i in range(len(self.points.attractors))])

    def plot(self, axes: Any = None) -> Any:
        """Plot the basins in colours, the separatrix between them, and the fixed points.

        Args:
            axes: matplotlib axes to draw on; default: those of a new figure.

        Returns:
            The axes.
        """
        with require_extra("analysis", "a picture"):
            from matplotlib.colors import ListedColormap

        axes = get_axes(axes)
        count = len(self.points.attractors)
        colours = ["#ffffff", *(PALE[i % len(PALE)] for i in range(count))]
        (left, right), (low, high) = self.region
        axes.imshow(
            self.labels.cpu().numpy(), origin="lower", extent=(left, right, low, high), cmap=ListedColormap(colours),
            vmin=-1.5, vmax=count - 0.5, aspect="auto", interpolation="nearest",
        )  # fmt: skip
        if len(self.separatrix):
            axes.plot(*self.separatrix.cpu().T, ".", color=GREY, markersize=2, label="separatrix")
        draw_points(axes, self.points.points.cpu(), self.points.verdicts)
        axes.set(xlim=(left, right), ylim=(low, high), xlabel="first state", ylabel="second state", title="Basins")
        axes.legend(loc="upper right", framealpha=0.9)
        return axes


@torch.no_grad()
def basins(
    system: Any,
    region: Region,
    x: Float[Tensor, " input"] | None = None,
    *,
    points: FixedPoints | None = None,
    resolution: int = 100,
    steps: int = 3000,
) -> Basins:
    """Find the basins of attraction by simulating a grid of states, and the border between them by subdivision.

    Args:
        system: a system that :func:`as_step` accepts, with two state variables.
        region: ((lowest, highest) first component, (lowest, highest) second component).
        x: the constant input, [input]; default: zeros.
        points: the fixed points; default: those found by :func:`fixed_points` from states in the region.
        resolution: number of states along each side; default: 100.
        steps: maximum number of simulated steps; default: 3000.

    Returns:
        The attractor of each state of the grid, and the border between the basins.

    Raises:
        ValueError: the state does not have two variables, or there is no attractor in the region.

    Example:
        >>> step = as_step(lambda x_t, h: torch.tanh(2 * h), state=torch.zeros(1, 2, dtype=torch.float64))
        >>> basins(step, ((-1.0, 1.0), (-1.0, 1.0)), resolution=20).shares  # one in each corner
        tensor([0.2500, 0.2500, 0.2500, 0.2500], dtype=torch.float64)
    """
    step = as_step(system)
    if step.size != 2:
        raise UserError(f"basins expected a system with two state variables, got {step.size}")
    x = step.silence()[0] if x is None else x
    grid = _make_grid(region, resolution, x.dtype)
    if points is None:
        points = fixed_points(step, x, starts=grid.flatten(0, 1)[:: max(resolution**2 // 400, 1)].to(x.device))
    if not len(points.attractors):
        raise UserError("no attractor found in the region: choose a larger one, or pass points")

    def label(h: Tensor) -> Tensor:
        return _find_attractors(step, x, h.to(x.device), points.attractors, steps).cpu()

    labels = label(grid.flatten(0, 1)).view(resolution, resolution)
    return Basins(points, region, labels, _find_border(label, grid, labels))


def _make_grid(region: Region, resolution: int, dtype: torch.dtype) -> Tensor:
    """Return the centres of the grid cells, [second, first, 2]."""
    middles = (torch.arange(resolution, dtype=dtype) + 0.5) / resolution
    first, second = (low + middles * (high - low) for low, high in region)
    return torch.stack(torch.meshgrid(first, second, indexing="xy"), -1)


def _find_attractors(step: Step, x: Tensor, h: Tensor, attractors: Tensor, steps: int) -> Tensor:
    apart = torch.cdist(attractors, attractors).fill_diagonal_(torch.inf).min()
    near = NEAR * float(apart if apart.isfinite() else 1.0)
    label = torch.full((len(h),), -1, device=h.device)
    under_way = torch.arange(len(h), device=h.device)
    for _ in range(steps):
        h = step(x.expand(len(h), -1), h)
        distance, nearest = torch.cdist(h, attractors).min(1)
        there = distance < near
        if bool(there.any()):
            label[under_way[there]] = nearest[there]
            h, under_way = h[~there], under_way[~there]
        if not len(h):
            break
    return label


def _find_border(label: Callable[[Tensor], Tensor], grid: Tensor, labels: Tensor) -> Tensor:
    """Subdivide the interval between each two adjacent states of the grid with different attractors."""
    ends = []
    for first, second in (((slice(None), slice(-1)), (slice(None), slice(1, None))), (slice(-1), slice(1, None))):
        differs = labels[first] != labels[second]
        ends.append((grid[first][differs], grid[second][differs], labels[first][differs]))
    left, right, of_left = (torch.cat(parts) for parts in zip(*ends, strict=True))
    inside = torch.arange(1, SECTIONS, dtype=left.dtype)[:, None, None] / SECTIONS
    for _ in range(CUTS if len(left) else 0):
        between = left + inside * (right - left)
        same = label(between.flatten(0, 1)).view(SECTIONS - 1, -1) == of_left
        section = same.cumprod(0).sum(0)[:, None]  # the last point with the same attractor as the left end
        left, right = left + section / SECTIONS * (right - left), left + (section + 1) / SECTIONS * (right - left)
    return (left + right) / 2
