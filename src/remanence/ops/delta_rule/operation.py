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
    """Compute what :func:`reference.run` does: in chunks of time, or as that loop where it is faster or says more.

    Args:
        q: as of :func:`reference.run`.
        k: likewise.
        v: likewise.
        beta: likewise.
        state: likewise.
        log_decay: likewise.
        reset: likewise.
    """
    if torch.compiler.is_exporting() or q.shape[1] * k.shape[2] <= FEW:
        return reference.run(q, k, v, beta, state, log_decay, reset)
    y, last = chunked.run(q, k, v, beta, state, log_decay, reset)
    return reference.run(q, k, v, beta, state, log_decay, reset) if loses_steps(y) else (y, last)
