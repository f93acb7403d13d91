"""The delta rule in chunks of time: matrix products and one triangular solve, in place of a loop over all steps."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from remanence.ops.chunks import add_reset, cut, find_decay, join

CHUNK = 64
"""Most writes in a chunk. The work within chunks grows with it, the number of chunks, one after another, falls."""


def run(
    q: Float[Tensor, "batch time heads key"],
    k: Float[Tensor, "batch time writes heads key"],
    v: Float[Tensor, "batch time writes heads value"],
    beta: Float[Tensor, "batch time writes heads"],
    state: Float[Tensor, "batch heads value key"],
    log_decay: Float[Tensor, "batch time heads"] | None = None,
    reset: Bool[Tensor, "batch time"] | None = None,
) -> tuple[Float[Tensor, "batch time heads value"], Float[Tensor, "batch heads value key"]]:
    """Compute what :func:`reference.run` does.

    Within a chunk every write adds a product u kᵀ, and ``u_t = β_t (v_t - α_t S_{t-1} k_t)`` depends on all
    earlier u. Let D_ts be the decay from s to t, Γ_t that from the start of the chunk, and S₀ the S there::

        (I + L) U = diag(β) (V - diag(Γ) K S₀ᵀ),     L_ts = β_t D_ts k_t · k_s  for s < t

    U is linear in S₀, and its two parts are solved for all chunks at once (the WY form of a product of Householder
    matrices). Only S₀ is passed from chunk to chunk. A reset is a decay of 0.

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

    Source: Yang et al. 2024, Parallelizing linear transformers with the delta rule over sequence length, section 3;
    with decay: Yang, Kautz, Hatamizadeh 2024, Gated delta networks, section 3.3.
    """
    time, writes = int(q.shape[1]), int(k.shape[2])
    steps = -(-time // -(-time * writes // CHUNK))  # in each chunk; those after the end do nothing
    chunks = -(-time // steps)
    if reset is not None:
        log_decay = add_reset(torch.zeros_like(q[..., 0]) if log_decay is None else log_decay, reset)
    q, k, v, beta = (cut(each, chunks, steps) for each in (q[:, :, None], k, v, beta))
    overlaps, scores, first, last, whole = k @ k.mT, q @ k.mT, k, k, None
    if log_decay is not None:
        decay, from_start = find_decay(cut(log_decay[:, :, None], chunks, steps))
        scores, overlaps = scores * _repeat(decay, writes), overlaps * _repeat(_repeat(decay.mT, writes).mT, writes)
        q, first = q * from_start[..., None], k * _repeat(from_start, writes)[..., None]
        last, whole = k * _repeat(decay[..., -1, :], writes)[..., None], from_start[..., -1, None, None]
    L = (beta[..., None] * overlaps).tril(-1)
    right = beta[..., None] * torch.cat((v, first), -1)
    solved = torch.linalg.solve_triangular(L, right, upper=False, unitriangular=True)
    of_values, of_state = solved.split((v.shape[-1], k.shape[-1]), -1)  # U = of_values - of_state S₀ᵀ
    starts, U, state = _carry(of_values, of_state, last, whole, state)
    past = _repeat(torch.ones_like(scores[..., ::writes], dtype=torch.bool).tril(), writes)
    y = q @ starts.mT + torch.where(past, scores, 0) @ U
    return join(y, time), state


def _repeat(x: Tensor, writes: int) -> Tensor:
    """Repeat every step, along the last dimension, for each of its writes."""
    return x if writes == 1 else x.repeat_interleave(writes, -1)


def _carry(
    of_values: Tensor, of_state: Tensor, k: Tensor, decay: Tensor | None, S: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Carry S from chunk to chunk; return it as it is before each, U, and S after the last."""
    starts, found = [], []
    decays = [None] * len(k) if decay is None else decay.unbind(0)
    for U_0, W, K, α in zip(of_values.unbind(0), of_state.unbind(0), k.unbind(0), decays, strict=True):
        starts.append(S)
        found.append(U_0 - W @ S.mT)
        S = (S if α is None else α * S) + found[-1].mT @ K
    return torch.stack(starts), torch.stack(found), S
