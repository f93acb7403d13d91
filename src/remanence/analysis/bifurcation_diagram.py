"""Bifurcation diagrams: how the fixed points of a system depend on one of its parameters."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from jaxtyping import Float
from torch import Tensor

from remanence.analysis.canvas import BLUE, GREY, ORANGE, get_axes
from remanence.analysis.fixed_point_search import FixedPoints, fixed_points

LOOKS = (("stable", "o", BLUE, BLUE), ("saddle or unstable", "o", "white", ORANGE), ("other", "s", GREY, GREY))


@dataclass(frozen=True, eq=False)
class Bifurcation:
    """The fixed points for each value of a parameter.

    Attributes:
        values: values of the parameter, ascending.
        branches: the fixed points for each value.
    """

    values: tuple[float, ...]
    branches: tuple[FixedPoints, ...]

    @property
    def changes(self) -> list[tuple[float, float]]:
        """Adjacent values between which the number or the kinds of fixed points change."""
        kinds = [sorted(each.kind.removeprefix("globally ") for each in found.verdicts) for found in self.branches]
        pairs = zip(self.values[:-1], self.values[1:], kinds[:-1], kinds[1:], strict=True)
        return [(low, high) for low, high, before, after in pairs if before != after]

    def plot(self, axes: Any = None, *, component: int = 0) -> Any:
        """Plot one component of the fixed points over the parameter: filled if stable, hollow if not.

        Args:
            axes: matplotlib axes to draw on; default: those of a new figure.
            component: index of the component of the state; default: 0.

        Returns:
            The axes.
        """
        axes = get_axes(axes)
        for look, (name, marker, face, edge) in enumerate(LOOKS):
            places = [
                (value, float(point[component]))
                for value, found in zip(self.values, self.branches, strict=True)
                for point, each in zip(found.points, found.verdicts, strict=True)
                if _choose_look(each.kind) == look
            ]
            if places:
                axes.scatter(*zip(*places, strict=True), s=14, marker=marker, c=face, edgecolors=edge, label=name)
        axes.set(xlabel="parameter", ylabel=f"component {component} of the fixed point", title="Bifurcation")
        axes.legend(frameon=False)
        return axes


def _choose_look(kind: str) -> int:
    return 0 if "asymptotically" in kind else 1 if kind in ("saddle", "unstable") else 2


def bifurcation(
    make: Callable[[float], Any],
    values: Sequence[float],
    x: Float[Tensor, " input"] | None = None,
    **options: Any,
) -> Bifurcation:
    """Find the fixed points of a family of systems with one parameter.

    Args:
        make: a function from a value of the parameter to a system that :func:`as_step` accepts.
        values: values of the parameter.
        x: the constant input, [input]; default: zeros.
        options: further keyword arguments of :func:`fixed_points`.

    Returns:
        The fixed points for each value of the parameter.

    Example:
        >>> def autapse(w):
        ...     return as_step(lambda x_t, h: torch.tanh(w * h), state=torch.zeros(1, 1, dtype=torch.float64))
        >>> from remanence.analysis import as_step
        >>> bifurcation(autapse, [0.8, 0.95, 1.05, 1.2], starts=32).changes  # a pitchfork at 1
        [(0.95, 1.05)]
    """
    values = sorted(values)
    return Bifurcation(tuple(values), tuple(fixed_points(make(value), x, **options) for value in values))
