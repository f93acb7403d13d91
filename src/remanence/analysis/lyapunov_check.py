"""Lyapunov functions: whether a candidate decreases along the trajectories of a system."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from remanence.analysis.adapters import as_step
from remanence.analysis.canvas import BLUE, GREY, ORANGE, get_axes
from remanence.analysis.region import Region, draw_corners, sample_region
from remanence.analysis.step import Step
from remanence.errors import UserError
from remanence.nn.hopfield import Hopfield

Candidate = Callable[[Tensor], Tensor]
ROUNDING = 64  # changes of V below this number of epsilons count as zero


@dataclass(frozen=True, eq=False)
class LyapunovCheck:
    """Test of a candidate V at sampled states.

    Attributes:
        states: the sampled states, [samples, size].
        values: V at these states, [samples].
        changes: ``V(F(h)) - V(h)``, [samples]; 0 if it is within rounding.
        not_positive: samples other than the equilibrium with V ≤ 0; empty if no equilibrium was given.
        rising: samples at which V increases.
        staying: samples at which V does not change although the state moves or an equilibrium was given.
        level: no sample contradicts V below this level: the smallest V of the samples above, of the border of the
            region, and of states from which a step leaves the region. Infinite if there are none, or no equilibrium.
        holds: whether V is 0 at the equilibrium, positive elsewhere, and increases nowhere.
        strict: whether V also decreases everywhere.
        verdict: the conclusion, in words.
    """

    states: Float[Tensor, "states size"]
    values: Float[Tensor, " states"]
    changes: Float[Tensor, " states"]
    not_positive: Float[Tensor, "low size"]
    rising: Float[Tensor, "rising size"]
    staying: Float[Tensor, "staying size"]
    level: float
    holds: bool
    strict: bool
    verdict: str

    def plot(self, axes: Any = None) -> Any:
        """Plot the change of V in a step over V for every sample, with a dotted line at the level.

        Args:
            axes: matplotlib axes to draw on; default: those of a new figure.

        Returns:
            The axes.
        """
        axes = get_axes(axes)
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
def check_lyapunov_function(
    system: Any,
    candidate: Candidate | None = None,
    region: Region | None = None,
    *,
    point: Float[Tensor, " size"] | None = None,
    x: Float[Tensor, " input"] | None = None,
    samples: int = 10_000,
) -> LyapunovCheck:
    """Search for states that contradict a candidate V for a Lyapunov function.

    It must satisfy ``V(x̄) = 0`` at the equilibrium, and ``V(h) > 0`` and ``V(F(h)) < V(h)`` elsewhere.

    Without a point, V is tested as an energy: no step may increase it, and it may stay constant only where the state
    does not move. Samples are evidence, not a proof: a state between them may contradict V. For a ``nn.Hopfield``, the
    default candidate is its own energy, and the default states are corners of the cube.

    Args:
        system: a system that :func:`as_step` accepts, preferably in float64; or a ``nn.Hopfield``, whose step updates
            all units once, one after the other.
        candidate: V, a function from states [batch, size] to values [batch].
        region: the region to sample from: a (lowest, highest) for each component of the state, the radius of a ball
            around the point, or the states themselves [states, size].
        point: the equilibrium x̄ under x, [size]; default: none.
        x: the constant input, [input]; default: zeros.
        samples: number of states to draw; default: 10,000.

    Returns:
        The samples, those that contradict V, and a verdict.

    Raises:
        ValueError: the candidate or the region is missing, the region has a wrong size, or the point is not an
            equilibrium.

    References:
        Khalil, Nonlinear Systems, 2002, section 4.1; LaSalle 1976, chapter 1 (discrete time). Hopfield 1982, PNAS 79.

    Example:
        >>> step = as_step(lambda x_t, h: torch.tanh(0.5 * h), state=torch.zeros(1, 2, dtype=torch.float64))
        >>> found = check_lyapunov_function(step, lambda h: h.square().sum(-1), 1.0, point=torch.zeros(2).double())
        >>> print(found.verdict)
        V is 0 at the point and above 0 at all 10,000 states sampled, and falls: evidence, not proof, that the point is
        asymptotically stable, and attracts all states with V below 1
    """
    if isinstance(system, Hopfield):
        candidate = system.energy if candidate is None else candidate
        region = draw_corners(system, samples) if region is None else region
        system = _make_sweep_step(system)
    if candidate is None or region is None:
        raise UserError("candidate and region are needed, except for a Hopfield network: pass both")
    step = as_step(system)
    x = step.silence()[0] if x is None else x
    if point is not None:
        _check_equilibrium(step, x, point)
    drawn = sample_region(region, point, step, samples)
    h = drawn.states
    after = step(x.expand(len(h), -1), h)
    values, later = candidate(h), candidate(after)
    rounding = ROUNDING * torch.finfo(h.dtype).eps
    changes = torch.where((later - values).abs() <= rounding * values.abs().maximum(later.abs()), 0, later - values)
    counts = _is_moving(h, after) if point is None else (h != point).any(1)
    low = counts & ~(values > 0) if point is not None else torch.zeros_like(counts)
    rises, stays = counts & ~(changes <= 0), counts & (changes == 0)  # a change that is not finite counts as a rise
    at_point = 0.0 if point is None else float(candidate(point[None])[0])
    if abs(at_point) <= rounding * float(values.abs().max()):
        at_point = 0.0
    border = candidate(drawn.border) if len(drawn.border) else values[:0]
    limits = torch.cat([values[low | rises | stays | drawn.outside(after)], border])
    level = torch.inf if point is None or not len(limits) else float(limits.min())
    against = _list_objections(at_point, h, low, rises)
    verdict = against or _describe_evidence(h, stays, point is not None, level)
    strict = not against and not bool(stays.any())
    return LyapunovCheck(h, values, changes, h[low], h[rises], h[stays], level, not against, strict, verdict)


def _make_sweep_step(memory: Hopfield) -> Step:
    return as_step(lambda x_t, h: memory(h, sweeps=1), state=torch.ones_like(memory.weight[:1]))


def _list_objections(at_point: float, h: Tensor, low: Tensor, rises: Tensor) -> str:
    said = [f"V is {at_point:.3g} at the point, not 0"] if at_point else []
    said += [f"V is not above 0 at {_format_states(h[low])}"] if bool(low.any()) else []
    said += [f"V rises at {_format_states(h[rises])}"] if bool(rises.any()) else []
    return f"no Lyapunov function here: {'; '.join(said)}" if said else ""


def _format_states(states: Tensor) -> str:
    first = ", ".join(f"{number:.4g}" for number in states[0, :4].tolist()) + ", ..." * (states.shape[1] > 4)
    return f"{len(states):,} of the states sampled, as [{first}]"


def _describe_evidence(h: Tensor, stays: Tensor, equilibrium: bool, level: float) -> str:
    where = "V is 0 at the point and above 0 at all" if equilibrium else "V rises at none of the"
    if bool(stays.any()):
        where_it_stays = _format_states(h[stays])
        means = f"V stays at {where_it_stays}: evidence, not proof, of stability, but none that states come to rest"
    elif equilibrium:
        whom = f"all states with V below {level:.4g}" if 0 < level < torch.inf else "those states"
        means = f"and falls: evidence, not proof, that the point is asymptotically stable, and attracts {whom}"
    else:
        means = "and falls wherever the state moves: evidence, not proof, that all come to rest, none in a cycle"
    return f"{where} {len(h):,} states sampled, {means}"


def _is_moving(h: Tensor, after: Tensor) -> Tensor:
    """Return which states move; where V is flat, rounding hides moves up to the square root of epsilon."""
    return (after - h).norm(dim=1) > _compute_threshold(h) * (1 + h.norm(dim=1))


def _compute_threshold(like: Tensor) -> float:
    return torch.finfo(like.dtype).eps ** 0.5


def _check_equilibrium(step: Step, x: Tensor, point: Tensor) -> None:
    if point.shape != (step.size,):
        raise UserError(f"expected point to be of shape [{step.size}], got {list(point.shape)}")
    moved = float((step(x[None], point[None])[0] - point).norm())
    if not moved <= _compute_threshold(point) * (1 + float(point.norm())):
        raise UserError(f"the point is not an equilibrium: a step moves it by {moved:.3g}; use one from fixed_points")
