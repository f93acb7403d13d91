"""Full attention."""

from collections.abc import Sequence

import torch
from torch import Tensor

from remanence.nn.attention.attention import Attention
from remanence.nn.attention.fused import attend_fused


class FullAttention(Attention):
    """Full attention: ``softmax(Q Kᵀ / √d) V`` (Vaswani et al. 2017, section 3.2).

    Computed by ``torch.nn.functional.scaled_dot_product_attention``, in time proportional to the square of the length.

    Args:
        width: number of channels of x and y.
        heads: number of heads.
        causal: whether position t attends only to positions up to t; default: False.
        max_length: length of the longest sequence; default: no limit.

    Example:
        >>> FullAttention(8, heads=2)(torch.randn(3, 5, 8)).shape
        torch.Size([3, 5, 8])
    """

    def _attend(self, heads: Sequence[Tensor], mask: Tensor | None) -> Tensor:
        q, k, v = heads
        if mask is None:
            return attend_fused(q, k, v, causal=self.causal)
        seen = mask[:, None, None, :]
        if self.causal:
            seen = seen & torch.ones(q.shape[2], q.shape[2], dtype=torch.bool, device=q.device).tril()
        return attend_fused(q, k, v, mask=seen)
