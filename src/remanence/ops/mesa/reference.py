"""Ridge regression over time as a plain loop, the reference for the form in chunks."""

from functools import partial

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from remanence.ops.time_loop import Tensors, loop_over_time


def run(
    q: Float[Tensor, "batch time heads key"],
    k: Float[Tensor, "batch time heads key"],
    v: Float[Tensor, "batch time heads value"],
    beta: Float[Tensor, "batch time heads"],
    log_decay: Float[Tensor, "batch time heads"],
    ridge: Float[Tensor, "heads key"],
    state: Float[Tensor, "batch heads rows key"],
    reset: Bool[Tensor, "batch time"] | None = None,
) -> tuple[Float[Tensor, "batch time heads value"], Float[Tensor, "batch heads rows key"]]:
    """Add to the sums of products of the past, and answer each query by the map that fits them best.

    ::

        G_t = α_t G_{t-1} + β_t v_t k_tᵀ
        H_t = α_t H_{t-1} + β_t k_t k_tᵀ
        y_t = G_t (H_t + diag(λ))⁻¹ q_t

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
    given = [q, k, v, beta, log_decay, *(() if reset is None else (reset,))]
    (y,), (last,) = loop_over_time(partial(_step, ridge), [state], given)
    return y, last


def _step(ridge: Tensor, state: Tensors, inputs: Tensors) -> tuple[Tensors, Tensors]:
    (sums,), (q, k, v, beta, log_decay, *reset) = state, inputs
    if reset:
        sums = torch.where(reset[0][:, None, None, None], 0, sums)
    added = (beta[..., None] * torch.cat((v, k), -1))[..., :, None] * k[..., None, :]
    sums = log_decay[..., None, None].exp() * sums + added
    G, H = sums.split((v.shape[-1], k.shape[-1]), -2)
    return (sums,), ((G @ solve(H, ridge, q)[..., None])[..., 0],)


def solve(H: Tensor, ridge: Tensor, q: Tensor) -> Tensor:
    """Compute (H + diag(λ))⁻¹ q, without an error if there is no inverse, as when H has infinities or NaNs."""
    return torch.linalg.solve_ex(H + torch.diag_embed(ridge), q[..., None]).result[..., 0]
