"""DeltaProduct: several steps of the delta rule in each time step."""

import torch

from remanence.nn.matrix_memory.delta_rule_memory import DeltaRuleMemory
from remanence.nn.structure import Device


class DeltaProduct(DeltaRuleMemory):
    """DeltaProduct: several steps of the delta rule in each time step, each with its own key, value and β.

    For each head, j from 1 to n_h::

        S <- S + β_tj (v_tj - S k_tj) k_tjᵀ        so that S_t = S_{t-1} Π_j (I - β_tj k_tj k_tjᵀ) + ...
        y_t = RMSNorm(S_t q_t)

    A product of n_h generalised Householder matrices can be a rotation: two of them rotate a plane, and n_h = key_size
    of them give any orthogonal map, so that one layer can track the states of larger groups. With ``forget_gate`` S
    decays before the first of them, as in :class:`GatedDeltaNet` (Gated DeltaProduct). q, k and v are linear in x, then
    convolved over the last ``conv_size`` steps, channel by channel, then activated by SiLU; keys and queries are
    scaled to length 1. A whole sequence is computed in chunks (:mod:`remanence.ops.delta_rule`).

    Args:
        input_size: number of input channels.
        hidden_size: number of output channels: ``num_heads`` times the size of a value.
        num_householder: n_h, the number of steps of the delta rule in each time step; default: 2.
        num_heads: number of heads, with one matrix each; must divide ``hidden_size``. Default: the largest number, up
            to 4, whose values have at least 16 channels.
        key_size: number of channels of a key in one head; default: that of a value.
        conv_size: number of time steps that the convolution sees, at least 2; None means no convolution. Default: 4.
        allow_negative_eigenvalues: whether β lies between 0 and 2 (default) instead of between 0 and 1; reflections
            and rotations need it.
        forget_gate: whether S decays; default: False.
        output_gate: whether the output is multiplied by SiLU(W_g x); default: True.
        device: device of the parameters; default: PyTorch's default.
        dtype: dtype of the parameters; default: PyTorch's default.

    Parameters:
        projection.weight (the rows of q, k_1 ... k_n, v_1 ... v_n, β_1 ... β_n, decay and gate in this order),
        convolution.weight [channels of q, k and v, conv_size], with a forget gate decay_gate.A_log and
        decay_gate.dt_bias [num_heads], norm.weight [hidden_size / num_heads].

    State:
        (S [batch, num_heads, value, key], window [batch, conv_size - 1, channels of q, k and v]), zero at first.
        Without a convolution it is S alone.

    Raises:
        ValueError: a size is not a positive integer, ``num_heads`` does not divide ``hidden_size``, or ``conv_size``
            is below 2.

    References:
        Siems et al. 2025, DeltaProduct: improving state-tracking in linear RNNs via Householder products, section 3.

    Example:
        >>> y, (S, window) = DeltaProduct(3, 8, num_heads=2, num_householder=3)(torch.randn(2, 5, 3))
        >>> y.shape, S.shape, window.shape
        (torch.Size([2, 5, 8]), torch.Size([2, 2, 4, 4]), torch.Size([2, 3, 56]))
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        num_householder: int = 2,
        num_heads: int | None = None,
        key_size: int | None = None,
        conv_size: int | None = 4,
        allow_negative_eigenvalues: bool = True,
        forget_gate: bool = False,
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
            num_householder=num_householder,
            allow_negative_eigenvalues=allow_negative_eigenvalues,
            forget_gate=forget_gate,
            output_gate=output_gate,
        )
