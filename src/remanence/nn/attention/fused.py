"""PyTorch's fused softmax attention, restricted to backends with correct gradients."""

from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import scaled_dot_product_attention

from remanence._kernels.addressing import is_transformed

MASKED = [SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH]
"""All but cuDNN: with a mask and a length of 64 modulo 128, its gradient of the queries is NaN where logits are very
negative (https://github.com/pytorch/pytorch/issues/196678)."""


def attend_fused(
    q: Float[Tensor, "batch heads queries channels"],
    k: Float[Tensor, "batch heads keys channels"],
    v: Float[Tensor, "batch heads keys channels"],
    *,
    mask: Bool[Tensor, "batch #heads #queries keys"] | None = None,
    causal: bool = False,
) -> Float[Tensor, "batch heads queries channels"]:
    """Compute ``softmax(q kᵀ / √channels) v``.

    Args:
        q: queries.
        k: keys.
        v: values.
        mask: which keys each query attends to; default: all.
        causal: whether query t attends only to keys up to t; only without a mask.
    """
    if is_transformed():  # the fused kernels do not support forward-mode differentiation
        with sdpa_kernel(SDPBackend.MATH):
            return scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=causal)
    if mask is None:
        return scaled_dot_product_attention(q, k, v, is_causal=causal)
    with sdpa_kernel(MASKED):
        return scaled_dot_product_attention(q, k, v, attn_mask=mask)
