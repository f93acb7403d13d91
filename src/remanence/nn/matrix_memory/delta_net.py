"""DeltaNet: fast weights that are corrected by the delta rule."""

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from remanence.errors import UserError
from remanence.nn.matrix_memory.delta_rule_memory import DeltaRuleMemory
from remanence.nn.structure import Device


class DeltaNet(DeltaRuleMemory):
    """DeltaNet: fast weights in which what is stored under a key is moved towards a value.

    For each head, with q, k, v and β from the input::

        S_t = S_{t-1} + β_t (v_t - S_{t-1} k_t) k_tᵀ
        y_t = RMSNorm(S_t q_t)

    q, k and v are linear in x, then convolved over the last ``conv_size`` steps, channel by channel, then activated.
    Keys and queries are scaled to length 1, so that S changes by the factor 1 - β along k and stays as it is elsewhere;
    β = sigmoid(w x). A whole sequence is computed in chunks of 64 steps, by matrix products and a triangular solve
    (:mod:`remanence.ops.delta_rule`); S is stored once for each chunk.

    Args:
        input_size: number of input channels.
        hidden_size: number of output channels: ``num_heads`` times the size of a value.
        num_heads: number of heads, with one matrix each; must divide ``hidden_size``. Default: the largest number, up
            to 4, whose values have at least 16 channels.
        key_size: number of channels of a key in one head; default: that of a value.
        conv_size: number of time steps that the convolution sees, at least 2; None means no convolution. Default: 4.
        feature_map: how q, k and v are activated. ``"silu"`` (default) applies SiLU to all three and scales q and k to
            length 1; ``"elu"`` applies 1 + ELU to q and k, divides each by its sum, and leaves v as it is, as in the
            first DeltaNet.
        allow_negative_eigenvalues: whether β = 2 sigmoid(w x), so that what is stored can change its sign, which
            counting and state tracking need (Grazzi et al. 2024); default: False.
        output_gate: whether the output is multiplied by SiLU(W_g x); default: False.
        device: device of the parameters; default: PyTorch's default.
        dtype: dtype of the parameters; default: PyTorch's default.

    Parameters:
        projection.weight (the rows of q, k, v, β and the gate in this order), convolution.weight [channels of q, k and
        v, conv_size], norm.weight [hidden_size / num_heads].

    State:
        (S [batch, num_heads, value, key], window [batch, conv_size - 1, channels of q, k and v]), zero at first.
        Without a convolution it is S alone.

    Raises:
        ValueError: a size is not a positive integer, ``num_heads`` does not divide ``hidden_size``, ``conv_size`` is
            below 2, or the feature map is unknown.

    References:
        Schlag, Irie, Schmidhuber 2021, Linear transformers are secretly fast weight programmers; Yang et al. 2024,
        Parallelizing linear transformers with the delta rule over sequence length; Grazzi et al. 2024, Unlocking
        state-tracking in linear RNNs through negative eigenvalues.

    Example:
        >>> y, (S, window) = DeltaNet(3, 8, num_heads=2)(torch.randn(2, 5, 3))
        >>> y.shape, S.shape, window.shape
        (torch.Size([2, 5, 8]), torch.Size([2, 2, 4, 4]), torch.Size([2, 3, 24]))
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        num_heads: int | None = None,
        key_size: int | None = None,
        conv_size: int | None = 4,
        feature_map: Literal["silu", "elu"] = "silu",
        allow_negative_eigenvalues: bool = False,
        output_gate: bool = False,
        device: Device = None,
        dtype: torch.dtype | None = None,
    ):
        super().__init__(
            input_size,
            hidden_size,
            num_heads=num_heads,
            key_size=key_size,
            conv_size=conv_size,
            allow_negative_eigenvalues=allow_negative_eigenvalues,
            output_gate=output_gate,
        )
        if feature_map not in ("silu", "elu"):
            raise UserError(f"feature_map must be 'silu' or 'elu', got {feature_map!r}")
        self.feature_map = feature_map

    def _activate(self, q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        if self.feature_map == "silu":
            return super()._activate(q, k, v)
        q, k = (1 + F.elu(x) for x in (q, k))
        return q / q.sum(-1, keepdim=True), k / k.sum(-1, keepdim=True), v
