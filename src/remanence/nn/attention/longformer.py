"""Longformer attention."""

from collections.abc import Sequence

import torch
from torch import Tensor

from remanence.checks import positive_integer
from remanence.nn.attention.attention import Attention, make_key_mask
from remanence.nn.attention.blocks import attend_window
from remanence.nn.attention.global_tokens import attend_global_tokens, mask_global_tokens
from remanence.nn.structure import Device


class LongformerAttention(Attention):
    """A sliding window and global tokens (Beltagy et al. 2020, section 3.1).

    Every position attends to those at most ``radius`` away and to the first ``global_tokens``, which attend to all.

    Global and local attention share one set of projections (the paper's own has a second set for the global tokens), so
    that the methods have equally many parameters. Time and memory are proportional to length · (radius + global).

    Args:
        width: number of channels of x and y.
        heads: number of heads.
        causal: whether position t sees only positions up to t; the global tokens then see no more than that either.
        max_length: longest sequence; default: any.
        radius: how far a position sees, to each side (the paper's window is twice that); default: 64.
        global_tokens: how many of the first positions are global; default: 1, the place of the CLS token.
        device: device of the parameters; default: PyTorch's default.
        dtype: dtype of the parameters; default: PyTorch's default.

    Example:
        >>> LongformerAttention(8, heads=2, radius=3)(torch.randn(3, 17, 8)).shape
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
        global_tokens: int = 1,
        device: Device = None,
        dtype: torch.dtype | None = None,
    ):
        super().__init__(width, heads, causal=causal, max_length=max_length)
        self.radius = positive_integer("radius", radius)
        self.global_tokens = positive_integer("global_tokens", global_tokens)

    def _attend(self, heads: Sequence[Tensor], mask: Tensor | None) -> Tensor:
        q, k, v = heads
        real, tokens = make_key_mask(mask, k), self.global_tokens
        near = attend_window(q, k, v, mask_global_tokens(real, tokens), radius=self.radius, causal=self.causal)
        return attend_global_tokens(q, k, v, real, tokens=tokens, causal=self.causal, others=[near])
