"""Attention with a kernel function, in time proportional to the length."""

import torch
from torch import Tensor
from torch.nn import functional as F

from remanence.nn.attention.blocks import join, split

BLOCK = 64  # positions; the causal form keeps one matrix [features, channels] for each block


def attend_by_kernel(q: Tensor, k: Tensor, v: Tensor, *, causal: bool) -> Tensor:
    """Compute ``y_i = Σ_j (q_i · k_j) v_j / Σ_j (q_i · k_j)``, over all j or j ≤ i (Katharopoulos et al. 2020).

    Args:
        q: non-negative features of the queries, [batch, heads, time, features].
        k: non-negative features of the keys, of the same shape; zero at padded positions.
        v: values, [batch, heads, time, channels].
        causal: whether query i attends only to keys j ≤ i.

    Returns:
        The output, [batch, heads, time, channels]; 0 for queries without keys.
    """
    v = F.pad(v, (0, 1), value=1.0)  # the last channel becomes the denominator
    summed = _sum_causally(q, k, v) if causal else q @ (k.transpose(-1, -2) @ v)
    y, total = summed[..., :-1], summed[..., -1:]
    return y / total.masked_fill(total == 0, 1)


def _sum_causally(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Compute ``Σ_{j ≤ i} (q_i · k_j) v_j``: pair by pair within a block, as one matrix for all earlier blocks."""
    time = q.shape[2]
    q, k, v = (split(x, BLOCK) for x in (q, k, v))
    sums = (k.transpose(-1, -2) @ v).cumsum(2)
    before = torch.cat([torch.zeros_like(sums[:, :, :1]), sums[:, :, :-1]], 2)
    return join(q @ before + (q @ k.transpose(-1, -2)).tril() @ v, time)
