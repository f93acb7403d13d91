"""Global tokens: a few positions that all attend to, and that attend to all."""

from collections.abc import Sequence

import torch
from torch import Tensor

from remanence.nn.attention.softmax import Part, attend, merge


def attend_global_tokens(
    q: Tensor, k: Tensor, v: Tensor, mask: Tensor, *, tokens: int, causal: bool, others: Sequence[Part]
) -> Tensor:
    """Attend to the first ``tokens`` positions and merge with ``others``; the first attend to everything.

    Args:
        q: queries [batch, heads, time, channels]; so k and v.
        k: keys.
        v: values.
        mask: which keys there are, [batch, 1, time, 1].
        tokens: how many are global.
        causal: only keys up to the query.
        others: attention to sets of keys beyond the first ``tokens``.
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
