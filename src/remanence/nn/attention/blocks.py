"""Time divided into blocks, so that each query has a fixed number of keys."""

import torch
from torch import Tensor
from torch.nn import functional as F

from remanence.nn.attention.softmax import Part, attend


def split(x: Tensor, size: int) -> Tensor:
    """Split [..., time, channels] to [..., blocks, size, channels]; the last block is padded with zeros (False)."""
    x = F.pad(x, (0, 0, 0, -x.shape[-2] % size))
    return x.unflatten(-2, (-1, size))


def join(blocks: Tensor, time: int) -> Tensor:
    """Join blocks to [..., time, channels]: the inverse of :func:`split`."""
    return blocks.flatten(-3, -2)[..., :time, :]


def gather_neighbours(blocks: Tensor, before: int, after: int) -> Tensor:
    """Concatenate each block with its neighbours: [..., blocks, (before + 1 + after) · size, channels]."""
    count = blocks.shape[-3]
    padded = F.pad(blocks, (0, 0, 0, 0, before, after))
    return torch.cat([padded[..., shift : shift + count, :, :] for shift in range(before + 1 + after)], -2)


def transpose_mask(mask: Tensor) -> Tensor:
    """Transpose a mask in blocks [..., keys, 1] to [..., 1, keys], which broadcasts with scores."""
    return mask.transpose(-1, -2)


def attend_window(q: Tensor, k: Tensor, v: Tensor, mask: Tensor, *, radius: int, causal: bool) -> Part:
    """Attend to the keys at most ``radius`` positions away, in time and memory proportional to time · radius.

    Args:
        q: queries, [batch, heads, time, channels].
        k: keys, of the same shape.
        v: values, of the same shape.
        mask: which keys are real, [batch, 1, time, 1].
        radius: maximum distance of a key, in positions.
        causal: whether a query attends only to keys up to its own position.
    """
    time = q.shape[-2]
    size = min(radius, time)
    after = 0 if causal else 1
    distance = torch.arange(-size, (1 + after) * size, device=q.device) - torch.arange(size, device=q.device)[:, None]
    near = distance.abs() <= radius
    if causal:
        near = near & (distance <= 0)
    keys, values, real = (gather_neighbours(split(x, size), 1, after) for x in (k, v, mask))
    y, log_total = attend(split(q, size), keys, values, transpose_mask(real) & near)
    return join(y, time), join(log_total, time)
