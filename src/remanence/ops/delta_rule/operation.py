"""Chooses the form in which the delta rule is computed."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from remanence.ops.chunks import loses_steps
from remanence.ops.delta_rule import chunked, reference

FEW = 3
"""Up to so many writes, the loop is faster."""


def evolve(
    q: Float[Tensor, "batch time heads key"],
    k: Float[Tensor, "batch time writes heads key"],
    v: Float[Tensor, "batch time writes heads value"],
    beta: Float[Tensor, "batch time writes heads"],
    state: Float[Tensor, "batch heads value key"],
    log_decay: Float[Tensor, "batch time heads"] | None = None,
    reset: Bool[Tensor, "batch time"] | None = None,
) -> tuple[Float[Tensor, "batch time heads value"], Float[Tensor, "batch heads value key"]]:
    """Compute what :func:`reference.run` does, in chunks, or by its loop if that is faster or the chunks lose steps.

    Args:
        q: queries [batch, time, heads, key].
        k: keys of each write [batch, time, writes, heads, key].
        v: values of each write [batch, time, writes, heads, value].
        beta: how far each write corrects the matrix [batch, time, writes, heads].
        state: S before the first step [batch, heads, value, key].
        log_decay: log α [batch, time, heads], at most 0; default: no decay.
        reset: where S returns to 0 before the step [batch, time]; gradients do not pass. Default: nowhere.

    Returns:
        The output y after each time step [batch, time, heads, value], and S after the last step.
    """
    if torch.compiler.is_exporting() or q.shape[1] * k.shape[2] <= FEW:
        return reference.run(q, k, v, beta, state, log_decay, reset)
    y, last = chunked.run(q, k, v, beta, state, log_decay, reset)
    return reference.run(q, k, v, beta, state, log_decay, reset) if loses_steps(y) else (y, last)
