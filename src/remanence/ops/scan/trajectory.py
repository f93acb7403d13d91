"""Computes all states of a step over time at once, by Newton's method on s_t = f(s_{t-1}, x_t), t = 1...T."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from remanence.ops.scan import linear_recurrence
from remanence.ops.scan.interpreter import evaluate
from remanence.ops.scan.layout import Tensors
from remanence.ops.scan.linearization import Linearization, linearize, linearize_for_search
from remanence.ops.scan.trace import TracedStep

MAX_ITERATIONS = 20
RESIDUAL_TOLERANCE = 64.0
"""The largest residual f(s_{t-1}, x_t) - s_t, in units of rounding (the dtype's eps times the largest state)."""

MAY_GROW = 10.0
"""An iteration that multiplies the residual of an element by more than this is undone and damped."""

FIRST_DAMPING = 0.25


@dataclass(frozen=True)
class Outcome:
    """The result of the search.

    Attributes:
        states: the trajectory, [state, batch, time, channels], or None.
        iterations: number of linear recurrences solved, without the one of the final check.
        residual: the largest ``|f(s_{t-1}, x_t) - s_t|`` after the last iteration.
        failure: why there is no trajectory: ``"not finite"``, ``"not converged"`` or ``"ill-conditioned"``.
    """

    states: Tensor | None
    iterations: int
    residual: float
    failure: str | None = None


@dataclass(frozen=True)
class Point:
    """States, and the step linearized around them."""

    states: Tensor
    new: Tensor
    jacobian: Tensor
    start: Tensor

    @cached_property
    def residual(self) -> Tensor:
        """The residual f(s_{t-1}, x_t) - s_t."""
        return self.new - self.states

    @cached_property
    def largest(self) -> Tensor:
        """The largest residual of each state of each element."""
        return self.residual.abs().amax(-2, keepdim=True)

    @cached_property
    def size(self) -> Tensor:
        """The largest residual of each element."""
        return self.largest.amax(0, keepdim=True)

    @cached_property
    def scale(self) -> Tensor:
        """The largest value that each state of each element takes."""
        return torch.maximum(self.new.abs().amax(-2, keepdim=True), self.start.abs().unsqueeze(-2))

    def replace_where(self, moved: Tensor, other: "Point") -> "Point":
        """Return this point with the elements that moved replaced by those of another."""
        states, new, jacobian = (
            torch.where(moved, theirs, ours)
            for ours, theirs in (
                (self.states, other.states),
                (self.new, other.new),
                (self.jacobian, other.jacobian),
            )
        )
        return Point(states, new, jacobian, self.start)


class System:
    """A step with its inputs, evaluated at every time step at once.

    A path [state, batch, 1 + time, channels] contains the state before the first step and after every step.
    """

    def __init__(self, traced: TracedStep, inputs: Tensors, state: Tensors, params: Tensors):
        self._traced, self._inputs, self._params = traced, inputs, params
        self.start = torch.stack(state)
        self.shape = (len(state), *inputs[0].shape)

    def path(self, states: Tensor) -> Tensor:
        """Return the path of these states."""
        return torch.cat((self.start.unsqueeze(-2), states), -2)

    def constant(self) -> Tensor:
        """Return the path that stays at the initial state."""
        batch, time, channels = self.shape[1:]
        return self.start.unsqueeze(-2).expand(-1, batch, time + 1, channels)

    def step(self, path: Tensor) -> Tensor:
        """Advance every state of a path, except the last, by one step."""
        return self._stack(evaluate(self._traced.forward, self.values(path), path))

    def linearize(self, path: Tensor, step: Linearization) -> tuple[Tensor, Tensor]:
        """Advance every state of a path, and compute the Jacobian, [new state, old state, ...], or its diagonal."""
        results = evaluate(step.graph, self.values(path), path)
        states = self.shape[0]
        jacobian = self._stack(results[states:])
        return self._stack(results[:states]), jacobian if step.diagonal else jacobian.unflatten(0, (states, states))

    def point(self, states: Tensor) -> Point:
        """Evaluate these states for the search."""
        return Point(states, *self.linearize(self.path(states), linearize_for_search(self._traced)), self.start)

    def whole_jacobian(self, point: Point) -> Tensor:
        """Compute the whole Jacobian of a point, also where the search uses only its diagonal."""
        step = linearize(self._traced)
        if step is linearize_for_search(self._traced):
            return point.jacobian
        return self.linearize(self.path(point.states), step)[1]

    def values(self, path: Tensor) -> dict[str, Sequence[Tensor]]:
        """Return the values of the placeholders of a graph."""
        return {"state": path[..., :-1, :].unbind(), "input": self._inputs, "param": self._params}

    def _stack(self, results: list[Tensor]) -> Tensor:
        return torch.stack([result.expand(self.shape[1:]) for result in results])


def search(traced: TracedStep, inputs: Tensors, state: Tensors, params: Tensors) -> Outcome:
    """Search for the trajectory by damped Newton iterations.

    With the residual r_t = f(s_{t-1}, x_t) - s_t and J_t = ∂f/∂s at (s_{t-1}, x_t), an iteration adds the solution of
    ``δ_t = (1 - k) J_t δ_{t-1} + r_t`` to the states. The damping k is 0 unless an iteration would multiply the largest
    residual of an element (one channel of one sample) by more than :data:`MAY_GROW`; that element then keeps its states
    and tries again with a larger k, up to k = 1, which is one plain evaluation of every step. (The residual may rise:
    on the way to the state of a flip-flop it rises a few times before it vanishes.)

    A trajectory counts as found if

    1. the residual is at most :data:`RESIDUAL_TOLERANCE` roundings at every step of every element, and
    2. the Newton step from there (with the whole Jacobian), which is the distance to the solution to first order, is at
       most the square root of a rounding. A chaotic step can have a residual of roundings and a trajectory that is
       another one altogether.

    That last step is taken too, the residual is checked again, and the result is f of it. If one element fails, the
    whole call fails. Memory, in numbers per step and element for n states: 2 (n² + 3n) for two points, plus what the
    evaluation of the graph needs.

    The search starts from one evaluation of every step on a constant trajectory. For flip-flops, this saves one
    iteration in about every second call; three evaluations would save one in every call, but cost as much.

    Sources: Lim et al. 2024, Parallelizing non-linear sequential models over the sequence length (DEER); Gonzalez et
    al. 2024, Towards scalable and stable parallelization of nonlinear RNNs (quasi-Newton, damping).
    """
    system = System(traced, inputs, state, params)
    here = system.point(system.step(system.constant()))
    if not bool(here.size.isfinite().all()):
        return Outcome(None, 0, float(here.size.max()), "not finite")
    damping, damped = torch.zeros_like(here.size), False
    failure, iteration = "not converged", 0
    for iteration in range(MAX_ITERATIONS + 1):
        tolerance = RESIDUAL_TOLERANCE * torch.finfo(here.new.dtype).eps * here.scale
        if bool((here.largest <= tolerance).all()):
            polished, residual = _polish(system, here, tolerance)
            if polished is not None:
                return Outcome(polished, iteration, residual)
            failure = "ill-conditioned"
        if iteration == MAX_ITERATIONS:
            break
        jacobian = (1 - damping) * here.jacobian if damped else here.jacobian
        there = system.point(here.states + linear_recurrence.solve(jacobian, here.residual))
        settled = (there.largest <= tolerance).all(0, keepdim=True)  # it may still jump from one rounding to ten
        kept = settled | (there.size <= MAY_GROW * here.size) & there.size.isfinite()
        if damped or not bool(kept.all()):
            if bool(((damping == 1) & ~kept).any()):
                break
            damping, damped = _update_damping(damping, kept), True
            here = here.replace_where(kept, there)
        else:
            here = there
    return Outcome(None, iteration, float(here.size.max()), failure)


def _polish(system: System, here: Point, tolerance: Tensor) -> tuple[Tensor | None, float]:
    """Take one more Newton step and evaluate; return the states if that step is small, else None, and the residual."""
    correction = linear_recurrence.solve(system.whole_jacobian(here), here.residual)
    corrected = here.states + correction
    polished = system.step(system.path(corrected))
    residual = (polished - corrected).abs()
    near = correction.abs() <= torch.finfo(here.new.dtype).eps ** 0.5 * here.scale
    found = bool((near & (residual <= tolerance)).all())
    return (polished if found else None), float(residual.max())


def _update_damping(damping: Tensor, kept: Tensor) -> Tensor:
    """Decrease the damping where an iteration was kept, increase it where it was undone."""
    less = torch.where(damping > FIRST_DAMPING, damping / 4, 0)
    return torch.where(kept, less, (2 * damping).clamp(FIRST_DAMPING, 1))
