"""Fixed points of a step under a constant input, and their stability."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Complex, Float, Int
from torch import Tensor

from remanence.analysis.adapters import as_step
from remanence.analysis.canvas import BLUE, GREEN, GREY, ORANGE, get_axes
from remanence.analysis.newton_search import search
from remanence.analysis.stability import Verdict, judge
from remanence.analysis.step import Step

ITERATIONS = 200
DETOUR = 200  # number of steps that a lost start is simulated before it searches again
TOLERANCE = {torch.float64: 1e-9, torch.float32: 1e-5}
ORDER = 5  # points where the speed vanishes up to this order are merged to one
SAME = 1e-4  # fixed points closer to each other than this are one and the same


@dataclass(frozen=True, eq=False)
class FixedPoints:
    """The fixed points F(x, h) = h of a system, in descending order of ``arrivals``.

    Attributes:
        points: the fixed points, [points, size].
        jacobians: ∂F/∂h at each point, [points, size, size].
        eigenvalues: eigenvalues of the Jacobians, [points, size], the largest modulus first.
        verdicts: the kind of each point.
        arrivals: the number of starts from which the search reached each point, [points]. It does not measure a basin
            of attraction: Newton's method also converges to unstable points.
        lost: the number of starts from which the search reached no fixed point.
    """

    points: Float[Tensor, "points size"]
    jacobians: Float[Tensor, "points size size"]
    eigenvalues: Complex[Tensor, "points size"]
    verdicts: tuple[Verdict, ...]
    arrivals: Int[Tensor, " points"]
    lost: int

    def of_kind(self, *kinds: str) -> Float[Tensor, "some size"]:
        """Select the points of the given kinds.

        Args:
            kinds: values of :attr:`Verdict.kind`.

        Returns:
            The points, [some, size].
        """
        chosen = [index for index, each in enumerate(self.verdicts) if each.kind in kinds]
        return self.points[chosen]

    @property
    def attractors(self) -> Float[Tensor, "some size"]:
        """The asymptotically stable points, [some, size]."""
        return self.of_kind("asymptotically stable", "globally asymptotically stable")

    def plot(self, axes: Any = None) -> Any:
        """Plot the points by kind, in the plane of the two state variables or of the first two principal components.

        Args:
            axes: matplotlib axes to draw on; default: those of a new figure.

        Returns:
            The axes.
        """
        axes = get_axes(axes)
        flat, name = self.points.cpu(), "component of the state"
        if flat.shape[1] == 1:
            flat = torch.cat([flat, torch.zeros_like(flat)], 1)
        elif flat.shape[1] > 2:
            centred, name = flat - flat.mean(0), "principal component"
            flat = centred @ torch.linalg.svd(centred, full_matrices=False).Vh[:2].T
            flat = torch.nn.functional.pad(flat, (0, 2 - flat.shape[1]))
            flat = flat.where(flat.abs() > 1e-6 * flat.norm(), 0)  # hide rounding errors of collinear points
        draw_points(axes, flat, self.verdicts)
        axes.set(xlabel=f"first {name}", ylabel=f"second {name}", title="Fixed points")
        if len(flat):
            axes.legend(framealpha=0.9)
        return axes


def draw_points(axes: Any, places: Tensor, verdicts: tuple[Verdict, ...]) -> None:
    """Draw points [points, 2], filled if stable, hollow if not."""
    for kind in dict.fromkeys(each.kind for each in verdicts):
        chosen = places[[index for index, each in enumerate(verdicts) if each.kind == kind]]
        if "asymptotically" in kind:
            look = {"marker": "o", "color": BLUE}
        elif kind == "saddle":
            look = {"marker": "X", "facecolor": "white", "edgecolor": ORANGE}
        elif kind == "unstable":
            look = {"marker": "o", "facecolor": "white", "edgecolor": ORANGE}
        else:
            look = {"marker": "s", "color": GREEN if kind != "undecided" else GREY}
        axes.scatter(*chosen.T, s=60, linewidths=1.5, label=kind, zorder=4, **look)


@torch.no_grad()
def fixed_points(
    system: Any,
    x: Float[Tensor, " input"] | None = None,
    *,
    starts: Float[Tensor, "starts size"] | int = 256,
    spread: float = 1.0,
    radius: float = 0.1,
    steps: int = 3000,
    iterations: int = ITERATIONS,
) -> FixedPoints:
    """Find the fixed points of a system under a constant input, and classify their stability.

    The search runs Newton's method and a minimisation of the speed ‖F(h) - h‖ from all starts at once. A start that
    ends in a slow region without a fixed point is simulated for a number of steps and searches again. Duplicates are
    merged, as are nearby points with only fixed points between them.

    The kind of a point follows from the eigenvalues of its Jacobian (all inside the unit circle: asymptotically stable;
    some outside: saddle; all outside: unstable) or, if the largest modulus is 1, from simulation alone. States in a
    ball around each point are simulated, and the verdict tells whether they agree. If only one point is found and the
    simulation from every start ends there, it is called globally asymptotically stable: evidence, not a proof.

    Args:
        system: a system that :func:`as_step` accepts, preferably in float64.
        x: the constant input, [input]; default: zeros.
        starts: the states to start from, [starts, size], or the number of starts to draw from a normal distribution
            around the initial state; default: 256.
        spread: standard deviation of that distribution; default: 1.
        radius: radius of the largest ball that is simulated around a point; default: 0.1.
        steps: maximum number of steps of each simulation; default: 3000.
        iterations: maximum number of iterations of the search; default: 200.

    Returns:
        The fixed points, with the Jacobian, the eigenvalues and the verdict for each.

    References:
        Sussillo and Barak 2013, Neural Computation 25 (search). Khalil, Nonlinear Systems, 2002, chapter 4, and Haykin,
        Neural Networks, 1999, chapter 14 (definitions).

    Example:
        >>> step = as_step(lambda x_t, h: torch.tanh(2 * h), state=torch.zeros(1, 1, dtype=torch.float64))
        >>> found = fixed_points(step)
        >>> sorted((round(float(point), 3) + 0.0, each.kind) for point, each in zip(found.points, found.verdicts))
        [(-0.958, 'asymptotically stable'), (0.0, 'unstable'), (0.958, 'asymptotically stable')]
    """
    step = as_step(system)
    x = step.silence()[0] if x is None else x
    if isinstance(starts, int):
        starts = step.initial_state(starts)
        starts = starts + spread * torch.randn_like(starts)

    def after(h: Tensor) -> Tensor:
        return step(x.expand(len(h), -1), h)

    tolerance = TOLERANCE.get(step.dtype, 1e-3)
    h, norm = _search(step, x, starts, iterations, after, tolerance)
    arrived = norm < tolerance
    points, arrivals = _merge_points(h[arrived], norm[arrived], after, tolerance)
    jacobians = step.jacobian(x.expand(len(points), -1), points) if len(points) else h.new_zeros(0, *[step.size] * 2)
    eigenvalues = torch.linalg.eigvals(jacobians)
    eigenvalues = eigenvalues.gather(-1, eigenvalues.abs().argsort(-1, descending=True))
    verdicts = [judge(step, x, *pair, radius, steps) for pair in zip(points, eigenvalues, strict=True)]
    if len(points) == 1 and verdicts[0].kind == "asymptotically stable":
        verdicts = [_judge_globally(step, x, points[0], starts, verdicts[0], steps)]
    return FixedPoints(points, jacobians, eigenvalues, tuple(verdicts), arrivals, int((~arrived).sum()))


def _search(
    step: Step, x: Tensor, starts: Tensor, iterations: int, after: Callable[[Tensor], Tensor], tolerance: float
) -> tuple[Tensor, Tensor]:
    """Return the state at which each start ended, and the speed there."""

    def jacobian(h: Tensor) -> Tensor:
        return step.jacobian(x.expand(len(h), -1), h)

    h, norm = search(after, jacobian, starts, iterations, tolerance)
    lost = norm >= tolerance
    if bool(lost.any()):  # in a slow region without a fixed point: search again from where the simulation leads
        again = starts[lost]
        for _ in range(DETOUR):
            again = after(again)
        h[lost], norm[lost] = search(after, jacobian, again, iterations, tolerance)
    return h, norm


def _merge_points(
    h: Tensor, norm: Tensor, after: Callable[[Tensor], Tensor], tolerance: float
) -> tuple[Tensor, Tensor]:
    """Return the slowest point of each cluster, and the number of starts in the cluster."""
    rest, points, arrivals = h[norm.argsort()], [], []
    while len(rest):
        distance, scale = (rest - rest[0]).norm(dim=-1), 1 + rest[0].norm()
        near = distance < SAME * scale
        # Around a point where F(h) - h vanishes to a high order, all nearby states are slower than the tolerance.
        doubtful = torch.nonzero(~near & (distance < 2 * tolerance ** (1 / ORDER) * scale))[:, 0]
        if len(doubtful):
            near[doubtful] = _is_slow_between(rest[0], rest[doubtful], after, tolerance)
        points.append(rest[0])
        arrivals.append(int(near.sum()))
        rest = rest[~near]
    order = torch.tensor(arrivals, dtype=torch.long).argsort(descending=True, stable=True)
    stacked = torch.stack(points) if points else h
    return stacked[order.to(h.device)], torch.tensor(arrivals, dtype=torch.long)[order]


def _is_slow_between(point: Tensor, others: Tensor, after: Callable[[Tensor], Tensor], tolerance: float) -> Tensor:
    """Return whether all states between a point and each of the others are slower than the tolerance."""
    between = torch.stack([point + share * (others - point) for share in (1 / 8, 1 / 4, 1 / 2, 3 / 4, 7 / 8)])
    moved = after(between.flatten(0, 1)).view_as(between) - between
    return (moved.norm(dim=-1) < tolerance).all(0)


def _judge_globally(step: Step, x: Tensor, point: Tensor, starts: Tensor, local: Verdict, steps: int) -> Verdict:
    h, inputs = starts, x.expand(len(starts), -1)
    for _ in range(steps):
        h = step(inputs, h)
        distance = (h - point).norm(dim=-1).nan_to_num(torch.inf)
        if bool((distance < 1e-3 * (1 + point.norm())).all()):
            reason = f"{local.reason}; so did all {len(starts)} starts of the search (evidence, no proof)"
            return replace(local, kind="globally asymptotically stable", reason=reason)
    return replace(local, reason=f"{local.reason}; of the starts of the search not all came within {steps} steps")
