"""A backend that computes all time steps at once: Newton iterations forwards, one linear recurrence backwards.

The states s_1...s_T solve ``s_t = f(s_{t-1}, x_t)``. From a guess of all of them, an iteration evaluates f and its
Jacobian at every step together, solves the linear recurrence ``δ_t = J_t δ_{t-1} + r_t`` for the residual r by an
associative scan, and adds δ. The Jacobian comes from the traced step, in blocks of up to 4 states; with more states
the search uses its diagonal. Gradients need no iterations and are exact for any number of states:
``λ_t = J_{t+1}ᵀ λ_{t+1} + grad_t`` is linear.

Every result is checked. The residual must be as small as rounding at every step, and the last Newton step (an estimate
of the distance to the states of the loop) must be small too: a small step alone, or a small residual alone, can belong
to a wrong trajectory. If a check fails, even in only one element (one channel of one sample), the fused loop computes
the whole call instead. :func:`remanence.scan_statistics` counts calls, iterations and such fallbacks, by reason. Look
at it before you rely on this backend: a call that falls back costs as much as both.

When it converges: in 3 to 9 iterations for contracting steps and for mildly bistable flip-flops, tried up to 4096
steps; in more, or not in the 20 allowed, the more bistable a step is; never for chaotic ones. It moves far more memory
than the loop (``benchmarks/newton.py`` counts the bytes): on a CPU the fused loop was 10 to 220 times faster, and on a
GPU only a long sequence of few elements can gain. ``"auto"`` never picks it. float32 and float64 only.
"""

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor

from remanence.ops.scan import graph_loop, linear_recurrence
from remanence.ops.scan.backend import ScanBackend, load
from remanence.ops.scan.counts import count
from remanence.ops.scan.interpreter import evaluate
from remanence.ops.scan.layout import PARAMS, Gradients, Group, Tensors, unbind_group
from remanence.ops.scan.linearization import linearize, linearize_for_search
from remanence.ops.scan.trace import TracedStep
from remanence.ops.scan.trajectory import System, search

GRADIENT_TOLERANCE = 1024.0
"""The largest error of the linear recurrence, in roundings of the terms that it adds."""


def refuses(traced: TracedStep, like: Tensor) -> str | None:
    """Return why this backend cannot run, or None.

    In half precision the residual of a wrong trajectory looks like rounding.
    """
    if like.dtype not in (torch.float32, torch.float64):
        return f"{like.dtype} is too coarse to check a trajectory with; use float32 or float64, or autocast"
    return None


def forward(traced: TracedStep, inputs: Tensors, state: Tensors, params: Group) -> Tensors:
    """Compute the states after every step by the search, or by the fused loop if the search fails."""
    outcome = search(traced, inputs, state, unbind_group(params, PARAMS))
    count(calls=1, iterations=outcome.iterations, fallback=outcome.failure)
    if outcome.states is None:
        return choose_loop(traced, inputs[0]).forward(traced, inputs, state, params)
    return outcome.states.unbind()


def backward(
    traced: TracedStep,
    needs: Sequence[bool],
    primals: tuple[Tensors, Tensors, Group],
    states: Tensors,
    grad_states: Sequence[Tensor | None],
    grad_final: Sequence[Tensor | None],
) -> Gradients:
    """Compute gradients by ``λ_t = J_{t+1}ᵀ λ_{t+1} + grad_t`` for all time steps at once, then one evaluation.

    This uses the whole Jacobian for any number of states: n² numbers per step and element. λ is checked against the
    vector-Jacobian product; if that fails (a product of many Jacobians overflows), the loop computes the gradients.
    """
    inputs, state, params = *primals[:2], unbind_group(primals[2], PARAMS)
    system = System(traced, inputs, state, params)
    path = system.path(torch.stack(states))
    grad = torch.stack([torch.zeros_like(s) if g is None else g for s, g in zip(states, grad_states, strict=True)])
    for place, of_final in enumerate(grad_final):
        if of_final is not None:
            grad[place, :, -1] += of_final
    cotangents, terms = _solve_cotangents(traced, system, path, grad)
    tolerance = GRADIENT_TOLERANCE * torch.finfo(grad.dtype).eps * terms
    values = system.values(path) | {"cotangent": cotangents.unbind()}
    results = [result.expand(system.shape[1:]) for result in evaluate(traced.vjp(tuple(needs)), values, path)]
    by_state, rest = torch.stack(results[: len(state)]), iter(results[len(state) :])
    missed = (cotangents - grad)[..., :-1, :] - by_state[..., 1:, :]
    if not bool(((missed.abs() <= tolerance) & tolerance.isfinite()).all()):
        count(fallback="gradients")
        return choose_loop(traced, inputs[0]).backward(traced, needs, primals, states, grad_states, grad_final)
    of_state = [g if need else None for g, need in zip(by_state[..., 0, :], needs, strict=False)]
    of_rest = [next(rest) if need else None for need in needs[len(state) :]]
    of_params = [None if g is None else g.sum((0, 1)) for g in of_rest[len(inputs) :]]
    return Gradients(tuple(of_state), tuple(of_rest[: len(inputs)]), tuple(of_params))


def source(traced: TracedStep, needs: Sequence[bool]) -> str:
    """Return the graphs that are evaluated at all time steps together, as text."""
    parts = {
        "new states, Jacobian": linearize_for_search(traced).graph,
        "Jacobian for gradients": linearize(traced).graph,
        "vector-Jacobian products": traced.vjp(tuple(needs)),
    }
    return "\n".join(f"# {title}\n{graph}\n" for title, graph in parts.items())


def _solve_cotangents(traced: TracedStep, system: System, path: Tensor, grad: Tensor) -> tuple[Tensor, Tensor]:
    """Compute λ for every time step, and for all but the last the sum of the absolute values of its terms."""
    step = linearize(traced)
    _, jacobian = system.linearize(path, step)
    onwards = (jacobian if step.diagonal else jacobian.transpose(0, 1))[..., 1:, :]
    last = grad[..., -1:, :]
    found = linear_recurrence.solve(onwards, grad[..., :-1, :], last[..., 0, :], reverse=True)
    cotangents = torch.cat((found, last), -2)
    products = (onwards * cotangents[..., 1:, :]).abs()
    products = products if step.diagonal else products.sum(1)
    return cotangents, grad[..., :-1, :].abs() + found.abs() + products


def choose_loop(traced: TracedStep, like: Tensor) -> ScanBackend:
    """Return the fused loop if it can run, otherwise the plain loop."""
    try:
        fused = load("gpu" if like.device.type == "cuda" else "cpu")
    except ImportError:
        return cast(ScanBackend, graph_loop)
    return cast(ScanBackend, graph_loop) if fused.refuses(traced, like) else fused
