"""A backend for steps that are linear in their state: one associative scan over time in each direction.

``s_t = A_t s_{t-1} + b_t``, where A and b may depend in any way on inputs and params. Both come from the traced step,
evaluated at all time steps together: b is the step at a state of zero, A its Jacobian. Gradients solve the adjoint
recurrence, as those of :mod:`remanence.ops.scan.newton` do.

No logarithms are needed to keep this stable: the associative scan only multiplies and adds A and b, and never divides
by a product of A, as a scan made of cumulative sums does. Where such products vanish, what they multiply is forgotten;
a reset (A = 0) is nothing special.

The result is checked like that of Newton's method: the step from every state must lead to the next one. If it does not
(products of A that grow overflow where the state itself stays small, or a number is not finite), the fused loop
computes the whole call, and :func:`remanence.scan_statistics` counts it.

``"auto"`` picks this backend on GPUs for long sequences of few elements: there the loop mostly waits, and this moves
many times as many bytes. (The limits below are estimates; ``benchmarks/linear_memories.py`` measures both.) On a CPU
the fused loop was 3 to 24 times faster. float32 and float64 only.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from remanence.ops.scan import linear_recurrence, newton
from remanence.ops.scan.counts import count
from remanence.ops.scan.layout import PARAMS, Group, Tensors, unbind_group
from remanence.ops.scan.linearization import is_linear, linearize
from remanence.ops.scan.trace import TracedStep
from remanence.ops.scan.trajectory import RESIDUAL_TOLERANCE, System

MOST_STATES = 2
"""Up to so many states ``"auto"`` picks this backend: the products of A take n³ operations for n of them."""

SHORTEST = 1024
"""From so many time steps on. A call is about 100 operations of PyTorch, whatever its length, of 5 µs or more each."""

MOST_ELEMENTS = 4096
"""And up to so many elements: more bytes than theirs do not move in the time that a step of the loop waits."""

backward = newton.backward


def refuses(traced: TracedStep, like: Tensor) -> str | None:
    """Return why this backend cannot run, or None."""
    if not is_linear(traced):
        return "the new state is not a linear function of the old one"
    return newton.refuses(traced, like) or traced.refuses_derivative


def is_fastest(traced: TracedStep, like: Tensor) -> bool:
    """Return whether this backend is faster than the fused loop on a GPU.

    Args:
        traced: the step.
        like: an input, [batch, time, channels].
    """
    batch, time, channels = like.shape
    fits = traced.counts[0] <= MOST_STATES and time >= SHORTEST and batch * channels <= MOST_ELEMENTS
    return fits and refuses(traced, like) is None


def forward(traced: TracedStep, inputs: Tensors, state: Tensors, params: Group) -> Tensors:
    """Compute the states after every step by an associative scan, or by the fused loop if the check fails."""
    system = System(traced, inputs, state, unbind_group(params, PARAMS))
    at_zero = torch.zeros_like(system.start).unsqueeze(-2).expand_as(system.constant())
    b, a = system.linearize(at_zero, linearize(traced))
    states = linear_recurrence.solve(a, b, system.start)
    found = _follows(system, states)
    count(calls=1, fallback=None if found else "associative")
    return states.unbind() if found else newton.choose_loop(traced, inputs[0]).forward(traced, inputs, state, params)


def source(traced: TracedStep, needs: Sequence[bool]) -> str:
    """Return the graphs that are evaluated at all time steps together, as text."""
    parts = {"b and A": linearize(traced).graph, "vector-Jacobian products": traced.vjp(tuple(needs))}
    return "\n".join(f"# {title}\n{graph}\n" for title, graph in parts.items())


def _follows(system: System, states: Tensor) -> bool:
    """Return whether the step leads from each state to the next, up to rounding."""
    new = system.step(system.path(states))
    scale = torch.maximum(new.abs().amax(-2, keepdim=True), system.start.abs().unsqueeze(-2))
    tolerance = RESIDUAL_TOLERANCE * torch.finfo(new.dtype).eps * scale
    return bool(((new - states).abs() <= tolerance).all())
