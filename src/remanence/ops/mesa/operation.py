"""Ridge regression over time in chunks: sums of products by matrix products, and one linear system for each step."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from remanence.ops.chunks import add_reset, cut, find_decay, join, loses_steps
from remanence.ops.mesa import reference

CHUNK = 16
"""Time steps in a chunk. Those of one chunk are solved together, each with a matrix of its own."""

FEW = 3
"""Up to so many time steps, the loop is faster."""


def evolve(
    q: Float[Tensor, "batch time heads key"],
    k: Float[Tensor, "batch time heads key"],
    v: Float[Tensor, "batch time heads value"],
    beta: Float[Tensor, "batch time heads"],
    log_decay: Float[Tensor, "batch time heads"],
    ridge: Float[Tensor, "heads key"],
    state: Float[Tensor, "batch heads rows key"],
    reset: Bool[Tensor, "batch time"] | None = None,
) -> tuple[Float[Tensor, "batch time heads value"], Float[Tensor, "batch heads rows key"]]:
    """Compute what :func:`reference.run` does: in chunks of time, or as that loop where it is faster or says more.

    Args:
        q: as of :func:`reference.run`.
        k: likewise.
        v: likewise.
        beta: likewise.
        log_decay: likewise.
        ridge: likewise.
        state: likewise.
        reset: likewise.
    """
    if torch.compiler.is_exporting() or q.shape[1] <= FEW:
        return reference.run(q, k, v, beta, log_decay, ridge, state, reset)
    y, last = run_in_chunks(q, k, v, beta, log_decay, ridge, state, reset)
    return reference.run(q, k, v, beta, log_decay, ridge, state, reset) if loses_steps(y) else (y, last)


def run_in_chunks(
    q: Float[Tensor, "batch time heads key"],
    k: Float[Tensor, "batch time heads key"],
    v: Float[Tensor, "batch time heads value"],
    beta: Float[Tensor, "batch time heads"],
    log_decay: Float[Tensor, "batch time heads"],
    ridge: Float[Tensor, "heads key"],
    state: Float[Tensor, "batch heads rows key"],
    reset: Bool[Tensor, "batch time"] | None = None,
) -> tuple[Float[Tensor, "batch time heads value"], Float[Tensor, "batch heads rows key"]]:
    """Compute what :func:`reference.run` does, in chunks of time."""
    time = int(q.shape[1])
    steps = -(-time // -(-time // CHUNK))  # in each chunk; those behind the end of time do nothing
    chunks = -(-time // steps)
    log_decay = add_reset(log_decay, reset)
    q, k, v, beta, log_decay = (cut(each[:, :, None], chunks, steps) for each in (q, k, v, beta, log_decay))
    between, from_start = find_decay(log_decay)
    weights = (between * beta[..., None, :]).tril()  # [..., t, s]: of what step s added, after step t
    added = (weights[..., -1, :, None] * torch.cat((v, k), -1)).mT @ k
    outputs = []
    parts = [each.unbind(0) for each in (q, k, v, weights, from_start[..., None], added)]
    for q_n, k_n, v_n, weights_n, decay, added_n in zip(*parts, strict=True):
        G, H = state.split((v.shape[-1], k.shape[-1]), -2)
        products = (k_n[..., :, None] * k_n[..., None, :]).flatten(-2)
        H = decay[..., None] * H[:, :, None] + (weights_n @ products).unflatten(-1, H.shape[-2:])
        x = reference.solve(H, ridge[:, None], q_n)
        outputs.append((decay * x) @ G.mT + (weights_n * (x @ k_n.mT)) @ v_n)
        state = decay[..., -1:, :] * state + added_n
    return join(torch.stack(outputs), time), state
