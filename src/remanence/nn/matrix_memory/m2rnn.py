"""M²RNN: a nonlinear recurrence of a matrix."""

from typing import no_type_check

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from remanence.nn.matrix_memory.decay_gate import DecayGate
from remanence.nn.matrix_memory.matrix_memory import Drive, MatrixMemory, apply_gate
from remanence.nn.structure import Device
from remanence.ops.episodes import Episodes
from remanence.ops.recurrence import run_step
from remanence.ops.scan.layout import Tensors


class M2RNN(MatrixMemory):
    """M²RNN: a matrix for each head that runs through a nonlinear network in every time step.

    For each head, with q, k, v, a and g from the input, H of size key x value, W of size value x value::

        f_t = exp(-exp(A_log) softplus(a_t + dt_bias))
        H_t = f_t H_{t-1} + (1 - f_t) tanh(H_{t-1} W + k_t v_tᵀ)
        y_t = RMSNorm((H_tᵀ q_t + D v_t) SiLU(g_t))

    Every row of H is the state of an Elman network with the weights W; k says which rows v is written to. The norm is
    over all channels. q, k and v are linear in x, then convolved over the last ``conv_size`` steps, channel by channel,
    then activated by SiLU. The time steps cannot be computed in parallel: the loop is a scan
    (:func:`remanence.scan`), compiled on CPUs.

    Args:
        input_size: number of input channels.
        hidden_size: number of output channels: ``num_heads`` times the size of a value.
        num_heads: number of heads, with one matrix each; must divide ``hidden_size``. Default: the largest number, up
            to 4, whose values have at least 16 channels.
        key_size: number of channels of a key in one head; default: four times that of a value, as in the paper.
        conv_size: number of time steps that the convolution sees, at least 2; None means no convolution. Default: 4.
        output_gate: whether the readings are multiplied by SiLU(g) before the norm; default: True.
        device: device of the parameters; default: PyTorch's default.
        dtype: dtype of the parameters; default: PyTorch's default.

    Parameters:
        projection.weight (the rows of q, k, v, a and g in this order), convolution.weight [channels of q, k and v,
        conv_size], decay_gate.A_log and decay_gate.dt_bias [num_heads], state_weight [num_heads, value, value] (W, the
        identity at first), skip [num_heads, value] (D, 1 at first), norm.weight [hidden_size].

    State:
        (H [batch, num_heads, key, value], window [batch, conv_size - 1, channels of q, k and v]), zero at first.
        Without a convolution it is H alone.

    Raises:
        ValueError: a size is not a positive integer, ``num_heads`` does not divide ``hidden_size``, or ``conv_size``
            is below 2.

    References:
        Mishra, Tan, Stoica, Gonzalez, Dao 2026, M²RNN: non-linear RNNs with matrix-valued states for scalable language
        modeling, arXiv:2603.14360; details as in the authors' code (open-lm-engine), whose clipping of the gradient
        within the recurrence is left out.

    Example:
        >>> y, (H, window) = M2RNN(3, 8, num_heads=2)(torch.randn(2, 5, 3))
        >>> y.shape, H.shape, window.shape
        (torch.Size([2, 5, 8]), torch.Size([2, 2, 16, 4]), torch.Size([2, 3, 72]))
    """

    key_ratio = 4

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        num_heads: int | None = None,
        key_size: int | None = None,
        conv_size: int | None = 4,
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
            corrects=False,
            decay_gate=DecayGate,
            output_gate=output_gate,
        )
        self.state_weight = nn.Parameter(torch.empty(self.num_heads, self.value_size, self.value_size))  # W
        self.skip = nn.Parameter(torch.empty(self.num_heads, self.value_size))  # D
        self.norm = nn.RMSNorm(self.hidden_size, eps=1e-5)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw every parameter anew; W starts as the identity, D and the gains of the norm at 1."""
        super().reset_parameters()
        with torch.no_grad():
            self.state_weight.copy_(torch.eye(self.value_size))
        nn.init.ones_(self.skip)
        self.norm.reset_parameters()

    def _matrix_shape(self) -> tuple[int, int, int]:
        return self.num_heads, self.key_size, self.value_size

    def _recur(self, drive: Drive, S: Tensor, episodes: Episodes | None) -> tuple[Tensor, Tensor]:
        assert drive.log_decay is not None
        q, k, v = (F.silu(each) for each in (drive.q, drive.k[:, :, 0], drive.v[:, :, 0]))
        start = torch.zeros_like(v[:, 0])
        if episodes is not None:
            episodes = episodes._replace(reset_state=(torch.zeros_like(S), start))
        (_, y), (S, _) = run_step(
            step, [q, k, v, drive.log_decay.exp()], [S, start], [self.state_weight], episodes=episodes
        )
        return self.norm(apply_gate(y + self.skip * v, drive.gate)), S


@no_type_check  # a wrapper around it would count as something that may change: traced in every call
def step(state: Tensors, inputs: Tensors, params: Tensors) -> Tensors:
    """Compute one time step, in the form of :func:`remanence.scan`; the reading is carried, so that it is returned.

    Args:
        state: H [batch, heads, key, value], and the reading of the step before.
        inputs: q, k, v, and f, which is [batch, heads].
        params: W.
    """
    (H, _), (q, k, v, f), (weight,) = state, inputs, params
    new = torch.tanh(H @ weight + k[..., :, None] * v[..., None, :])
    H = torch.lerp(new, H, f[..., None, None])
    return H, (q[..., None] * H).sum(-2)
