"""Strided sparse attention."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from remanence.checks import positive_integer
from remanence.nn.attention.attention import Attention, make_key_mask
from remanence.nn.attention.blocks import attend_window, join, split, transpose_mask
from remanence.nn.attention.softmax import Part, attend, merge
from remanence.nn.structure import Device


class StridedAttention(Attention):
    """Strided attention of the Sparse Transformer (Child et al. 2019, section 4.2).

    Position i attends to positions at most ``stride`` away, and to all positions j with (i - j) mod stride = 0. Both
    sets share one softmax (the merged head of section 4.3). With a stride of √length, time and memory are proportional
    to length · √length.

    Args:
        width: number of channels of x and y.
        heads: number of heads.
        causal: whether position t attends only to positions up to t; default: False.
        max_length: length of the longest sequence; required if ``stride`` is not given.
        stride: stride l; default: √max_length, rounded up.
        device: device of the parameters; default: PyTorch's default.
        dtype: dtype of the parameters; default: PyTorch's default.

    Example:
        >>> StridedAttention(8, heads=2, stride=3)(torch.randn(3, 17, 8)).shape
        torch.Size([3, 17, 8])
    """

    def __init__(
        self,
        width: int,
        heads: int = 1,
        *,
        causal: bool = False,
        max_length: int | None = None,
        stride: int | None = None,
        device: Device = None,
        dtype: torch.dtype | None = None,
    ):
        super().__init__(width, heads, causal=causal, max_length=max_length)
        self.stride = positive_integer("stride", stride or math.isqrt(self._require_max_length() - 1) + 1)

    def _attend(self, heads: Sequence[Tensor], mask: Tensor | None) -> Tensor:
        q, k, v = heads
        real = make_key_mask(mask, k)
        near = attend_window(q, k, v, real, radius=self.stride, causal=self.causal)
        return merge([near, self._attend_columns(q, k, v, real)])

    def _attend_columns(self, q: Tensor, k: Tensor, v: Tensor, real: Tensor) -> Part:
        """Attend to every ``stride``-th position, except those that the window covers."""
        time = q.shape[2]
        q, k, v, real = (split(x, self.stride).transpose(-3, -2) for x in (q, k, v, real))
        row = torch.arange(q.shape[-2], device=q.device)
        distance = row - row[:, None]
        far = distance < -1 if self.causal else distance.abs() > 1
        y, log_total = attend(q, k, v, transpose_mask(real) & far)
        return join(y.transpose(-3, -2), time), join(log_total.transpose(-3, -2), time)
