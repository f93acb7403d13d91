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
    """Longformer: a sliding window and global tokens (Beltagy et al. 2020, section 3.1).

    Every position attends to positions at most ``radius`` away and to the first ``global_tokens`` positions, which
    attend to all. Global and local attention share one set of projections (the paper uses a second set for the global
    tokens), so that all methods have the same number of parameters. Time and memory are proportional to
    length · (radius + global tokens).

    Args:
        width: number of channels of x and y.
        heads: number of heads.
        causal: whether position t, global or not, attends only to positions up to t; default: False.
        max_length: length of the longest sequence; default: no limit.
        radius: maximum distance of a key, to each side (half of the paper's window); default: 64.
        global_tokens: number of global positions at the start; default: 1, the position of the CLS token.
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
