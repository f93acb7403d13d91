"""Local attention."""

from collections.abc import Sequence

import torch
from torch import Tensor

from remanence.checks import positive_integer
from remanence.nn.attention.attention import Attention, make_key_mask
from remanence.nn.attention.blocks import attend_window
from remanence.nn.structure import Device


class LocalAttention(Attention):
    """Local attention to positions at most ``radius`` away (Luong et al. 2015, section 3.2).

    Time and memory are proportional to length · radius.

    Args:
        width: number of channels of x and y.
        heads: number of heads.
        causal: whether position t attends only to positions up to t; default: False.
        max_length: length of the longest sequence; default: no limit.
        radius: maximum distance of a key, to each side; default: 64.
        device: device of the parameters; default: PyTorch's default.
        dtype: dtype of the parameters; default: PyTorch's default.

    Example:
        >>> LocalAttention(8, heads=2, radius=3)(torch.randn(3, 17, 8)).shape
        torch.Size([3, 17, 8])
    """

    def __init__(
        self,
        width: int,
        heads: int = 1,
        *,
        causal: bool = False,
        max_length: int | None = None,
        radius: int = 64,
        device: Device = None,
        dtype: torch.dtype | None = None,
    ):
        super().__init__(width, heads, causal=causal, max_length=max_length)
        self.radius = positive_integer("radius", radius)

    def _attend(self, heads: Sequence[Tensor], mask: Tensor | None) -> Tensor:
        q, k, v = heads
        y, _ = attend_window(q, k, v, make_key_mask(mask, k), radius=self.radius, causal=self.causal)
        return y
