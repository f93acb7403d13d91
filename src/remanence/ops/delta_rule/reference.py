"""The delta rule as a plain loop, the reference for the chunked form."""

from functools import partial

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from remanence.ops.time_loop import Tensors, loop_over_time


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
    given = [q, k, v, beta, *(each for each in (log_decay, reset) if each is not None)]
    step = partial(_step, log_decay is not None, reset is not None)
    (y,), (last,) = loop_over_time(step, [state], given)
    return y, last


def _step(decays: bool, resets: bool, state: Tensors, inputs: Tensors) -> tuple[Tensors, Tensors]:
    (S,), (q, k, v, beta, *rest) = state, inputs
    if resets:
        S = torch.where(rest[-1][:, None, None, None], 0, S)
    if decays:
        S = S * rest[0][..., None, None].exp()
    for k_j, v_j, beta_j in zip(k.unbind(1), v.unbind(1), beta.unbind(1), strict=True):
        S = S + (beta_j[..., None] * (v_j - _read(S, k_j)))[..., :, None] * k_j[..., None, :]
    return (S,), (_read(S, q),)


def _read(S: Tensor, k: Tensor) -> Tensor:
    return (S @ k[..., None])[..., 0]
