"""Softmax attention over a set of keys, and over a union of sets from the results for each set."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

Part = tuple[Tensor, Tensor]
"""An output [..., queries, channels], and the logarithm of its softmax's denominator [..., queries, 1]."""


def attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None, bias: Tensor | None = None) -> Part:
    """Compute ``softmax(q kᵀ / √d + bias) v`` over the keys where ``mask`` [..., queries, keys] is true."""
    scores = q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])
    return weigh(scores if bias is None else scores + bias, v, mask)


def weigh(scores: Tensor, values: Tensor, mask: Tensor | None = None) -> Part:
    """Compute ``softmax(scores) values`` over the keys where ``mask`` is true; 0 for a query without keys."""
    scores = scores.to(torch.promote_types(scores.dtype, torch.float32))
    if mask is not None:
        scores = scores.masked_fill(~mask, -math.inf)
    limits = torch.finfo(scores.dtype)
    # Finite where all keys are masked, so that neither the output nor a gradient becomes NaN.
    top = scores.detach().amax(-1, keepdim=True).clamp(min=limits.min)
    weights = torch.exp(scores - top)
    total = weights.sum(-1, keepdim=True).clamp(min=limits.tiny)
    return (weights / total).to(values.dtype) @ values, total.log() + top


def merge(parts: Sequence[Part]) -> Tensor:
    """Merge the results of attention over disjoint sets of keys to the output of attention over their union."""
    shares = torch.stack([log_total for _, log_total in parts]).softmax(0)
    return torch.stack([share.to(y.dtype) * y for share, (y, _) in zip(shares, parts, strict=True)]).sum(0)
