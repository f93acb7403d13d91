"""Gated DeltaNet: the delta rule with a decay that depends on the input."""

import torch

from remanence.nn.matrix_memory.delta_rule_memory import DeltaRuleMemory
from remanence.nn.structure import Device


class GatedDeltaNet(DeltaRuleMemory):
    """Gated DeltaNet: the delta rule, and a gate for each head that lets the whole matrix decay.

    For each head, with q, k, v, β, a and g from the input::

        α_t = exp(-exp(A_log) softplus(a_t + dt_bias))
        S_t = α_t S_{t-1} (I - β_t k_t k_tᵀ) + β_t v_t k_tᵀ
        y_t = RMSNorm(S_t q_t) SiLU(g_t)

    q, k and v are linear in x, then convolved over the last ``conv_size`` steps, channel by channel, then activated by
    SiLU; keys and queries are scaled to length 1. A whole sequence is computed in chunks of 64 steps, by matrix
    products and a triangular solve (:mod:`remanence.ops.delta_rule`), exactly even where α is 0.

    Args:
        input_size: number of input channels.
        hidden_size: number of output channels: ``num_heads`` times the size of a value.
        num_heads: number of heads, with one matrix each; must divide ``hidden_size``. Default: the largest number, up
            to 4, whose values have at least 16 channels.
        key_size: number of channels of a key in one head; default: that of a value (the authors' code uses half).
        conv_size: number of time steps that the convolution sees, at least 2; None means no convolution. Default: 4.
        allow_negative_eigenvalues: whether β lies between 0 and 2 instead of between 0 and 1, so that what is stored
            can change its sign (Grazzi et al. 2024); default: False.
        output_gate: whether the output is multiplied by SiLU(g); default: True.
        device: device of the parameters; default: PyTorch's default.
        dtype: dtype of the parameters; default: PyTorch's default.

    Parameters:
        projection.weight (the rows of q, k, v, β, a and g in this order), convolution.weight [channels of q, k and v,
        conv_size], decay_gate.A_log and decay_gate.dt_bias [num_heads], norm.weight [hidden_size / num_heads].

    State:
        (S [batch, num_heads, value, key], window [batch, conv_size - 1, channels of q, k and v]), zero at first.
        Without a convolution it is S alone.

    Raises:
        ValueError: a size is not a positive integer, ``num_heads`` does not divide ``hidden_size``, or ``conv_size``
            is below 2.

    References:
        Yang, Kautz, Hatamizadeh 2024, Gated delta networks: improving Mamba2 with delta rule, section 3.

    Example:
        >>> y, (S, window) = GatedDeltaNet(3, 8, num_heads=2)(torch.randn(2, 5, 3))
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
        allow_negative_eigenvalues: bool = False,
        output_gate: bool = True,
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
            forget_gate=True,
            output_gate=output_gate,
        )
