"""The delta rule as a plain loop, the reference for the chunked form."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor


def run(
    q: Float[Tensor, "batch time heads key"],
    k: Float[Tensor, "batch time writes heads key"],
    v: Float[Tensor, "batch time writes heads value"],
    beta: Float[Tensor, "batch time writes heads"],
    state: Float[Tensor, "batch heads value key"],
    log_decay: Float[Tensor, "batch time heads"] | None = None,
    reset: Bool[Tensor, "batch time"] | None = None,
) -> tuple[Float[Tensor, "batch time heads value"], Float[Tensor, "batch heads value key"]]:
    """Decay the matrix, correct it once for each write, and read it, step by step.

    ::

        S <- α_t S
        S <- S + β_tj (v_tj - S k_tj) k_tjᵀ        j = 1 ... writes
        y_t = S q_t

    Args:
        q: queries.
        k: keys, those of each write.
        v: values, likewise.
        beta: how far each write corrects the matrix.
        state: S before the first step.
        log_decay: log α, at most 0; default: no decay.
        reset: before these steps S returns to 0; gradients do not pass.

    Returns:
        The output y after each time step, and S after the last.
    """
    outputs, S = [], state
    for t in range(q.shape[1]):
        if reset is not None:
            S = torch.where(reset[:, t, None, None, None], 0, S)
        if log_decay is not None:
            S = S * log_decay[:, t, :, None, None].exp()
        for j in range(k.shape[2]):
            error = v[:, t, j] - _read(S, k[:, t, j])
            S = S + (beta[:, t, j, :, None] * error)[..., :, None] * k[:, t, j, :, None, :]
        outputs.append(_read(S, q[:, t]))
    return torch.stack(outputs, 1), S


def _read(S: Tensor, k: Tensor) -> Tensor:
    return (S @ k[..., None])[..., 0]
