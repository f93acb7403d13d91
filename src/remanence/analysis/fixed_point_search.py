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
DETOUR = 200  # steps that a lost start is simulated
TOLERANCE = {torch.float64: 1e-9, torch.float32: 1e-5}
ORDER = 5  # up to which the speed may vanish at a point that is found as one
SAME = 1e-4  # fixed points nearer to each other than this are one


@dataclass(frozen=True, eq=False)
class FixedPoints:
    """Where the state stays, F(x, h) = h, in the order of how many starts led there.

    Attributes:
        points: [points, size].
        jacobians: ∂F/∂h there, [points, size, size].
        eigenvalues: [points, size], the largest modulus first.
        verdicts: what kind each one is.
        arrivals: how many starts of the search led there, [points]. No measure of a basin: Newton's method is drawn to
            unstable points too.
        lost: starts of the search that led nowhere.
    """

    points: Float[Tensor, "points size"]
    jacobians: Float[Tensor, "points size size"]
    eigenvalues: Complex[Tensor, "points size"]
    verdicts: tuple[Verdict, ...]
    arrivals: Int[Tensor, " points"]
    lost: int

    def of_kind(self, *kinds: str) -> Float[Tensor, "some size"]:
        """Select the points with one of these verdicts.

        Args:
            kinds: as in :attr:`Verdict.kind`.
        """
        chosen = [index for index, each in enumerate(self.verdicts) if each.kind in kinds]
        return self.points[chosen]

    @property
    def attractors(self) -> Float[Tensor, "some size"]:
        """The asymptotically stable ones."""
        return self.of_kind("asymptotically stable", "globally asymptotically stable")

    def plot(self, axes: Any = None) -> Any:
        """The points, by kind, in the plane: as they are if the state has two numbers, else by principal components.

        Args:
            axes: matplotlib axes to draw on; default: those of a new figure.
        """
        axes = get_axes(axes)
        flat, name = self.points.cpu(), "component of the state"
        if flat.shape[1] == 1:
            flat = torch.cat([flat, torch.zeros_like(flat)], 1)
        elif flat.shape[1] > 2:
            centred, name = flat - flat.mean(0), "principal component"
            flat = centred @ torch.linalg.svd(centred, full_matrices=False).Vh[:2].T
            flat = torch.nn.functional.pad(flat, (0, 2 - flat.shape[1]))
            flat = flat.where(flat.abs() > 1e-6 * flat.norm(), 0)  # points on one line: no picture of rounding errors
        draw_points(axes, flat, self.verdicts)
        axes.set(xlabel=f"first {name}", ylabel=f"second {name}", title="Fixed points")
        if len(flat):
            axes.legend(framealpha=0.9)
        return axes


def draw_points(axes: Any, places: Tensor, verdicts: tuple[Verdict, ...]) -> None:
    """Draw points [points, 2]: filled if they attract, hollow if they do not."""
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
    """Search for fixed points, linearise, and judge each one's stability.

    From every start by Newton's method and minimisation of the speed (batched); a start that ends where the state is
    slow but does not stay is simulated for a while and tries again; duplicates are merged, and so are points near each
    other between which the state stays too. The kind follows from the
    eigenvalues of the Jacobian (all inside the unit circle: asymptotically stable; some outside: saddle, all outside:
    unstable), or, where the largest modulus is 1, from simulation alone. A ball of starts around each point is
    simulated, and the verdict says whether it agrees. Where a single point is found and every start ends there when
    simulated, it is called globally asymptotically stable: strong evidence, no proof.

    Args:
        system: what :func:`as_step` takes, best in float64.
        x: the constant input; default: zeros.
        starts: where to start the search; or how many starts to draw, normally distributed around the initial state.
        spread: their standard deviation.
        radius: of the largest ball that is simulated around a point.
        steps: of each simulation, at most.
        iterations: of the search, at most.

    Returns:
        The points, with Jacobian, eigenvalues and verdict of each.

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
    """Return where each start ended, and how fast the state moves there."""

    def jacobian(h: Tensor) -> Tensor:
        return step.jacobian(x.expand(len(h), -1), h)

    h, norm = search(after, jacobian, starts, iterations, tolerance)
    lost = norm >= tolerance
    if bool(lost.any()):  # in a place that is slow, but not a fixed point: again, from where the system itself goes
        again = starts[lost]
        for _ in range(DETOUR):
            again = after(again)
        h[lost], norm[lost] = search(after, jacobian, again, iterations, tolerance)
    return h, norm


def _merge_points(
    h: Tensor, norm: Tensor, after: Callable[[Tensor], Tensor], tolerance: float
) -> tuple[Tensor, Tensor]:
    """Return the slowest point of each cluster, and the number of points in it."""
    rest, points, arrivals = h[norm.argsort()], [], []
    while len(rest):
        distance, scale = (rest - rest[0]).norm(dim=-1), 1 + rest[0].norm()
        near = distance < SAME * scale
        # Around a point where F(h) - h vanishes to a high order, all that is near by is as slow as the tolerance asks.
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
    """Whether the state stays all the way from a point to each of the others."""
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
