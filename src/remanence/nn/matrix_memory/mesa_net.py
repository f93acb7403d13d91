"""MesaNet: in each time step, the linear map that fits all keys and values so far best."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from remanence.nn.matrix_memory.decay_gate import LogisticDecayGate
from remanence.nn.matrix_memory.matrix_memory import Drive, MatrixMemory, apply_episodes, apply_gate, normalize
from remanence.nn.structure import Device
from remanence.ops.episodes import Episodes
from remanence.ops.mesa.operation import evolve

LEAST_RIDGE, FIRST_RIDGE = 0.25, 1.0
"""The lower bound of λ, and its first value, as in the authors' code."""


class MesaNet(MatrixMemory):
    """MesaNet: each query is answered by ridge regression over all keys and values so far.

    For each head, with q, k, v, α and β from the input::

        G_t = α_t G_{t-1} + β_t v_t k_tᵀ
        H_t = α_t H_{t-1} + β_t k_t k_tᵀ
        y_t = RMSNorm(G_t (H_t + diag(λ))⁻¹ q_t)

    so that ``Φ = G (H + diag(λ))⁻¹`` minimises ``Σ_s β_s ‖v_s - Φ k_s‖²``, decayed, plus ``Σ_j λ_j ‖Φ_j‖²`` over its
    columns; the delta rule takes a step of gradient descent towards it. α = σ(a x + bias), β = σ(b x), and λ = 1/4 +
    softplus(r). q and k are linear in x, convolved over the last ``conv_size`` steps, channel by channel, activated by
    SiLU and scaled to length 1; v is linear in x.

    The authors approximate the inverse by 30 steps of conjugate gradients. Here the linear systems, one for each time
    step and head, are solved directly by Gaussian elimination (:mod:`remanence.ops.mesa`). That takes fewer operations
    for keys of up to about 100 channels, but the backward pass keeps a few [key, key] matrices for each system.

    Args:
        input_size: number of input channels.
        hidden_size: number of output channels: ``num_heads`` times the size of a value.
        num_heads: number of heads, with one map each; must divide ``hidden_size``. Default: the largest number, up to
            4, whose values have at least 16 channels.
        key_size: number of channels of a key in one head; default: that of a value.
        conv_size: number of time steps that the convolution sees, at least 2; None means no convolution. Default: 4.
        output_gate: whether the output is multiplied by SiLU(W_g x); default: False.
        device: device of the parameters; default: PyTorch's default.
        dtype: dtype of the parameters; default: PyTorch's default.

    Parameters:
        projection.weight (the rows of q, k, v, b, a and the gate in this order), convolution.weight [channels of q and
        k, conv_size], decay_gate.bias [num_heads], ridge_drive [num_heads, key_size] (r), norm.weight [hidden_size /
        num_heads].

    State:
        (S [batch, num_heads, value + key, key], window [batch, conv_size - 1, channels of q and k]), zero at first;
        S holds the rows of G and then those of H. Without a convolution the state is S alone.

    Raises:
        ValueError: a size is not a positive integer, ``num_heads`` does not divide ``hidden_size``, or ``conv_size``
            is below 2.

    References:
        von Oswald et al. 2025, MesaNet: sequence modeling by locally optimal test-time training, arXiv:2506.05233.

    Example:
        >>> y, (S, window) = MesaNet(3, 8, num_heads=2)(torch.randn(2, 5, 3))
        >>> y.shape, S.shape, window.shape
        (torch.Size([2, 5, 8]), torch.Size([2, 2, 8, 4]), torch.Size([2, 3, 16]))
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        num_heads: int | None = None,
        key_size: int | None = None,
        conv_size: int | None = 4,
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
            convolves_values=False,
            decay_gate=LogisticDecayGate,
            output_gate=output_gate,
        )
        self.ridge_drive = nn.Parameter(torch.empty(self.num_heads, self.key_size))
        self.norm = nn.RMSNorm(self.value_size, eps=1e-5)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw every parameter anew; λ and the gains of the norm start at 1."""
        super().reset_parameters()
        nn.init.constant_(self.ridge_drive, math.log(math.expm1(FIRST_RIDGE - LEAST_RIDGE)))
        self.norm.reset_parameters()

    def _matrix_shape(self) -> tuple[int, int, int]:
        return self.num_heads, self.value_size + self.key_size, self.key_size

    def _recur(self, drive: Drive, S: Tensor, episodes: Episodes | None) -> tuple[Tensor, Tensor]:
        q, k = (normalize(F.silu(each)) for each in (drive.q, drive.k[:, :, 0]))
        beta, log_decay, reset = apply_episodes(episodes, torch.sigmoid(drive.beta[:, :, 0]), drive.log_decay)
        assert log_decay is not None
        ridge = LEAST_RIDGE + F.softplus(self.ridge_drive)
        y, S = evolve(q, k, drive.v[:, :, 0], beta, log_decay, ridge, S, reset)
        return apply_gate(self.norm(y), drive.gate), S
