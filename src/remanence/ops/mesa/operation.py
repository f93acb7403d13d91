"""Ridge regression over time in chunks: sums of products by matrix products, and one linear system for each step."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from remanence.ops.chunks import add_reset, cut, find_decay, join, loses_steps
from remanence.ops.mesa import reference

CHUNK = 16
"""The number of time steps in a chunk, whose linear systems are solved together."""

FEW = 3
"""The number of time steps up to which the loop is faster."""


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
    """Compute what :func:`reference.run` does, in chunks, or by its loop if that is faster or the chunks lose steps.

    Args:
        q: queries [batch, time, heads, key].
        k: keys [batch, time, heads, key].
        v: values [batch, time, heads, value].
        beta: weight of each step [batch, time, heads], at least 0.
        log_decay: log α [batch, time, heads], at most 0.
        ridge: λ [heads, key], above 0.
        state: the rows of G and then those of H before the first step [batch, heads, value + key, key].
        reset: where G and H return to 0 before the step [batch, time]; gradients do not pass. Default: nowhere.

    Returns:
        The output y after each time step [batch, time, heads, value], and G and H after the last step.
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
    steps = -(-time // -(-time // CHUNK))  # in each chunk; those after the end do nothing
    chunks = -(-time // steps)
    log_decay = add_reset(log_decay, reset)
    q, k, v, beta, log_decay = (cut(each[:, :, None], chunks, steps) for each in (q, k, v, beta, log_decay))
    between, from_start = find_decay(log_decay)
    weights = (between * beta[..., None, :]).tril()  # [..., t, s]: the weight, after step t, of what step s added
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
