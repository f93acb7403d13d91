"""Lyapunov functions: whether a candidate falls along the steps of a system."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from remanence.analysis.adapters import as_step
from remanence.analysis.canvas import BLUE, GREY, ORANGE, on
from remanence.analysis.step import Step
from remanence.nn.hopfield import Hopfield

Candidate = Callable[[Tensor], Tensor]
Region = Float[Tensor, "states size"] | Sequence[tuple[float, float]] | float
ROUNDING = 64  # in units of the dtype's epsilon: changes of V so small are none


@dataclass(frozen=True, eq=False)
class LyapunovCheck:
    """What was seen of a candidate V at sampled states.

    Attributes:
        states: the samples.
        values: V there.
        changes: ``V(F(h)) - V(h)``; 0 where it is rounding.
        not_positive: samples with V ≤ 0; none are looked for without an equilibrium.
        not_decreasing: samples where V rises, or stays while there is an equilibrium to go to.
        level: the least V of such a sample, and on the border of the region: below it none was found. Infinite where
            there is neither.
        verdict: what this means, in words.
        holds: whether no sample speaks against V.
    """

    states: Float[Tensor, "states size"]
    values: Float[Tensor, " states"]
    changes: Float[Tensor, " states"]
    not_positive: Float[Tensor, "some size"]
    not_decreasing: Float[Tensor, "others size"]
    level: float
    verdict: str
    holds: bool

    def plot(self, axes: Any = None) -> Any:
        """Change of V in a step over V, for every sample; a dotted line at the level.

        Args:
            axes: where; default: a new figure.
        """
        axes = on(axes)
        values, changes = self.values.cpu(), self.changes.cpu()
        for chosen, name, colour in ((changes < 0, "falls", BLUE), (changes >= 0, "does not fall", ORANGE)):
            if bool(chosen.any()):
                axes.plot(values[chosen], changes[chosen], ".", color=colour, markersize=3, alpha=0.5, label=name)
        axes.axhline(0, color=GREY, linewidth=1)
        if bool(values.min() <= self.level <= values.max()):
            axes.axvline(self.level, color=GREY, linestyle=":", label=f"level {self.level:.3g}")
        axes.set(xlabel="$V(h)$", ylabel="$V(F(h)) - V(h)$", title="Change of V in a step")
        axes.legend(framealpha=0.9)
        return axes


@torch.no_grad()
def lyapunov_function(
    system: Any,
    candidate: Candidate | None = None,
    region: Region | None = None,
    *,
    point: Float[Tensor, " size"] | None = None,
    x: Float[Tensor, " input"] | None = None,
    samples: int = 10_000,
) -> LyapunovCheck:
    """Look for states that speak against a candidate V: ``V(x̄) = 0``, else ``V(h) > 0`` and ``V(F(h)) < V(h)``.

    Without a point V is judged as an energy: no step may raise it, and it may stay only where the state rests. Samples
    are evidence, no proof: a state between them may disagree. A ``nn.Hopfield`` brings its own energy, and corners of
    the cube as its states.

    Args:
        system: what :func:`as_step` takes, best in float64; or a ``nn.Hopfield``, whose step updates every unit once, one
            after the other.
        candidate: V, from states [batch, size] to values [batch].
        region: where to sample: a (lowest, highest) for each number of the state, the radius of a ball around the point,
            or the states themselves [states, size].
        point: the equilibrium x̄ under x; default: none.
        x: the constant input; default: zeros.
        samples: how many states are drawn.

    Raises:
        ValueError: no candidate or region, a region of another size, or a point that is no equilibrium.

    References:
        Khalil, Nonlinear Systems, 2002, section 4.1; LaSalle 1976, chapter 1 (in discrete time). Hopfield 1982, PNAS 79.

    Example:
        >>> step = as_step(lambda x_t, h: torch.tanh(0.5 * h), state=torch.zeros(1, 2, dtype=torch.float64))
        >>> found = lyapunov_function(step, lambda h: h.square().sum(-1), 1.0, point=torch.zeros(2).double())
        >>> print(found.verdict)
        V is 0 at the point, above 0 and falling at all 10,000 states sampled: evidence, not proof, that the point is
        asymptotically stable, and attracts whoever starts with V below 1
    """
    if isinstance(system, Hopfield):
        memory = system
        candidate = memory.energy if candidate is None else candidate
        region = _corners(memory, samples) if region is None else region
        system = as_step(lambda x_t, h: memory(h, sweeps=1), state=torch.ones_like(memory.weight[:1]))
    if candidate is None or region is None:
        raise ValueError("candidate and region are needed, except for a Hopfield network")
    step = as_step(system)
    x = step.silence()[0] if x is None else x
    if point is not None:
        _check_rests(step, x, point)
    h, border = _sampled(region, point, step, samples)
    after = step(x.expand(len(h), -1), h)
    values, later = candidate(h), candidate(after)
    rounding = ROUNDING * torch.finfo(h.dtype).eps * values.abs().maximum(later.abs())
    changes = torch.where((later - values).abs() <= rounding, 0, later - values)
    return _judged(candidate, h, after, values, changes, point, border)


def _judged(
    candidate: Candidate,
    h: Tensor,
    after: Tensor,
    values: Tensor,
    changes: Tensor,
    point: Tensor | None,
    border: Tensor,
) -> LyapunovCheck:
    if point is None:
        rests = (after == h).all(1)
        wrong, low = ~((changes < 0) | ((changes == 0) & rests)), torch.zeros_like(values, dtype=torch.bool)
        at_point = 0.0
    else:
        elsewhere = (h != point).any(1)
        wrong, low = elsewhere & ~(changes < 0), elsewhere & ~(values > 0)
        at_point = float(candidate(point[None])[0])
    limits = torch.cat([values[wrong | low], candidate(border) if len(border) else values[:0]])
    level = float(limits.min()) if len(limits) else torch.inf
    zero = abs(at_point) <= ROUNDING * torch.finfo(h.dtype).eps * float(values.abs().max())
    against = _against(at_point if not zero else 0.0, h[low], h[wrong])
    verdict = against or (_energy(len(h)) if point is None else _evidence(len(h), level))
    return LyapunovCheck(h, values, changes, h[low], h[wrong], level, verdict, not against)


def _against(at_point: float, low: Tensor, wrong: Tensor) -> str:
    said = [f"V is {at_point:.3g} at the point, not 0"] if at_point else []
    for states, what in ((low, "V is not above 0"), (wrong, "V does not fall")):
        if len(states):
            first = ", ".join(f"{number:.4g}" for number in states[0, :4].tolist())
            said.append(
                f"{what} at {len(states):,} of the states sampled, as [{first}{', ...' * (states.shape[1] > 4)}]"
            )
    return "no Lyapunov function here: " + "; ".join(said) if said else ""


def _evidence(count: int, level: float) -> str:
    whom = f" attracts whoever starts with V below {level:.4g}" if level < torch.inf else " attracts those states"
    return (
        f"V is 0 at the point, above 0 and falling at all {count:,} states sampled: evidence, not proof, that the point is "
        f"asymptotically stable, and{whom}"
    )


def _energy(count: int) -> str:
    return (
        f"V falls, or the state rests, at all {count:,} states sampled: evidence, not proof, that every state there comes "
        "to rest and none goes round in a cycle"
    )


def _check_rests(step: Step, x: Tensor, point: Tensor) -> None:
    if point.shape != (step.size,):
        raise ValueError(f"expected a point [{step.size}], got {list(point.shape)}")
    moved = float((step(x[None], point[None])[0] - point).norm())
    if not moved <= torch.finfo(point.dtype).eps ** 0.5 * (1 + float(point.norm())):
        raise ValueError(
            f"the point is no equilibrium: a step moves it by {moved:.3g}; fixed_points finds those there are"
        )


def _sampled(region: Region, point: Tensor | None, step: Step, samples: int) -> tuple[Tensor, Tensor]:
    """States of the region, and some of its border."""
    like = step.initial_state()
    if isinstance(region, Tensor):
        if region.ndim != 2 or region.shape[1] != step.size:
            raise ValueError(f"expected states [states, {step.size}], got {list(region.shape)}")
        return region.to(like), like[:0]
    generator = torch.Generator().manual_seed(0)
    if isinstance(region, int | float):
        if point is None:
            raise ValueError("a region that is a radius needs point, its middle")
        drawn = torch.randn(samples, step.size, generator=generator, dtype=torch.float64)
        border = drawn / drawn.norm(dim=1, keepdim=True)
        radius = torch.rand(samples, 1, generator=generator, dtype=torch.float64) ** (1 / step.size)
        return point + region * (radius * border).to(like), point + region * border.to(like)
    if len(region) != step.size:
        raise ValueError(
            f"expected a (lowest, highest) for each of {step.size} numbers of the state, got {len(region)}"
        )
    low, high = torch.tensor(region, dtype=torch.float64).unbind(1)
    inside = torch.rand(samples, step.size, generator=generator, dtype=torch.float64)
    face = torch.arange(samples) % (2 * step.size)
    border = inside.clone()
    border[torch.arange(samples), face // 2] = (face % 2).double()
    return (low + inside * (high - low)).to(like), (low + border * (high - low)).to(like)


def _corners(memory: Hopfield, samples: int) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    drawn = torch.randint(2, (samples, memory.size), generator=generator)
    return (2 * drawn - 1).to(memory.weight)
