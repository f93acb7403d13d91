"""Linformer attention."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from remanence.checks import positive_integer
from remanence.nn.attention.attention import Attention, make_key_mask
from remanence.nn.attention.fused import attend_fused
from remanence.nn.structure import Device


class LinformerAttention(Attention):
    """Linformer: keys and values projected along time to a fixed rank, ``softmax(Q (E K)ᵀ / √d) E V``.

    E is shared by keys, values and heads ("key-value sharing", Wang et al. 2020, section 4). Time and memory are
    proportional to length · rank. All positions are mixed before they are compared, so the method cannot be causal.
    Padding counts as zeros.

    Args:
        width: number of channels of x and y.
        heads: number of heads.
        causal: must be False.
        max_length: length of the longest sequence, which determines the shape of E; required.
        rank: number of projected keys k; default: 128.
        device: device of the parameters; default: PyTorch's default.
        dtype: dtype of the parameters; default: PyTorch's default.

    Parameters:
        compress [rank, max_length] (E), initialised from a normal distribution of variance 1 / rank (section 4).

    Raises:
        ValueError: ``causal`` is True, or ``max_length`` is missing.

    Example:
        >>> LinformerAttention(8, heads=2, max_length=64, rank=4)(torch.randn(3, 17, 8)).shape
        torch.Size([3, 17, 8])
    """

    can_be_causal = False

    def __init__(
        self,
        width: int,
        heads: int = 1,
        *,
        causal: bool = False,
        max_length: int | None = None,
        rank: int = 128,
        device: Device = None,
        dtype: torch.dtype | None = None,
    ):
        super().__init__(width, heads, causal=causal, max_length=max_length)
        rank = positive_integer("rank", rank)
        self.compress = nn.Parameter(torch.randn(rank, self._require_max_length()) / rank**0.5)

    def _attend(self, heads: Sequence[Tensor], mask: Tensor | None) -> Tensor:
        q, k, v = heads
        compress, real = self.compress[:, : k.shape[2]], make_key_mask(mask, k)
        return attend_fused(q, compress @ k.masked_fill(~real, 0), compress @ v.masked_fill(~real, 0))
