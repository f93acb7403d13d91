"""Global tokens: a few positions that attend to all positions, and to which all positions attend."""

from collections.abc import Sequence

import torch
from torch import Tensor

from remanence.nn.attention.softmax import Part, attend, merge


def attend_global_tokens(
    q: Tensor, k: Tensor, v: Tensor, mask: Tensor, *, tokens: int, causal: bool, others: Sequence[Part]
) -> Tensor:
    """Attend to the global tokens and merge the result with ``others``; the global tokens attend to everything.

    Args:
        q: queries, [batch, heads, time, channels].
        k: keys, of the same shape.
        v: values, of the same shape.
        mask: which keys are real, [batch, 1, time, 1].
        tokens: number of global tokens, the first positions.
        causal: whether a query attends only to keys up to its own position.
        others: results of attention to other sets of keys, disjoint from the global tokens.
    """
    seen = mask.transpose(-1, -2)
    column = attend(q[:, :, tokens:], k[:, :, :tokens], v[:, :, :tokens], seen[..., :tokens])
    rest = merge([column, *((y[:, :, tokens:], log_total[:, :, tokens:]) for y, log_total in others)])
    if causal:
        position = torch.arange(q.shape[2], device=q.device)
        seen = seen & (position <= position[:tokens, None])
    rows, _ = attend(q[:, :, :tokens], k, v, seen)
    return torch.cat([rows, rest], 2)


def mask_global_tokens(mask: Tensor, tokens: int) -> Tensor:
    """Exclude the first ``tokens`` positions from the mask [batch, 1, time, 1]."""
    return mask & (torch.arange(mask.shape[2], device=mask.device) >= tokens)[:, None]
