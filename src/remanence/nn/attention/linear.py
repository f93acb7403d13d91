"""Linear attention."""

from collections.abc import Sequence

from torch import Tensor
from torch.nn import functional as F

from remanence.nn.attention.attention import Attention, make_key_mask
from remanence.nn.attention.kernel_attention import attend_by_kernel


class LinearAttention(Attention):
    """Linear attention: ``y_i = Σ_j (φ(q_i) · φ(k_j)) v_j / Σ_j φ(q_i) · φ(k_j)`` with ``φ(x) = elu(x) + 1``.

    Time and memory are proportional to length; the causal form sums over the past in blocks (Katharopoulos et al. 2020,
    sections 3.2 and 3.3).

    Args:
        width: number of channels of x and y.
        heads: number of heads.
        causal: whether position t attends only to positions up to t; default: False.
        max_length: length of the longest sequence; default: no limit.

    Example:
        >>> LinearAttention(8, heads=2)(torch.randn(3, 17, 8)).shape
        torch.Size([3, 17, 8])
    """

    def _attend(self, heads: Sequence[Tensor], mask: Tensor | None) -> Tensor:
        q, k, v = heads
        features = (F.elu(k) + 1).masked_fill(~make_key_mask(mask, k), 0)
        return attend_by_kernel(F.elu(q) + 1, features, v, causal=self.causal)
