"""TTT-Linear: a linear model for each head that learns, by gradient descent, while the sequence runs."""

from typing import no_type_check

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from remanence.nn.matrix_memory.matrix_memory import Drive, MatrixMemory
from remanence.nn.structure import Device
from remanence.ops.episodes import Episodes
from remanence.ops.recurrence import run_step
from remanence.ops.scan.layout import Tensors

EPS = 1e-6
"""Added to the variance by both layer norms."""


class TTTLinear(MatrixMemory):
    """TTT-Linear: the state is a model that takes one step of gradient descent in each time step.

    For each head the model is ``f(z) = z + LN(W z + b)``, with q, k, v and η from the input::

        (W_t, b_t) = (W_{t-1}, b_{t-1}) - η_t ∇ ½ ‖f(k_t; W_{t-1}, b_{t-1}) - v_t‖²
        y_t = LN(f(q_t; W_t, b_t))        the outer norm over all heads

    with ``η_t = σ(w x_t) / d`` for heads of size d. Without the inner norm, and with η in place of β, this would be the
    delta rule. The gradient is taken in every time step (mini-batches of 1; the paper's models use 16), so that a
    sequence can be cut anywhere. The inner norm makes the recurrence nonlinear: the loop is a scan
    (:func:`remanence.scan`), compiled on CPUs.

    Args:
        input_size: number of input channels.
        hidden_size: number of output channels: ``num_heads`` times d, the size of q, k and v in a head.
        num_heads: number of heads, with one model each; must divide ``hidden_size``. Default: the largest number, up to
            4, whose heads have at least 16 channels.
        conv_size: number of time steps that a convolution of each channel of q, k and v sees, at least 2 (the authors
            use 4 in blocks like Mamba's). Default: no convolution.
        device: device of the parameters; default: PyTorch's default.
        dtype: dtype of the parameters; default: PyTorch's default.

    Parameters:
        projection.weight (the rows of q, k, v and η in this order), first_model [num_heads, d, d + 1] (W_0, and b_0 as
        its last column), gain and shift [num_heads, d] of the inner norm, norm.weight and norm.bias [hidden_size];
        with a convolution also convolution.weight [3 hidden_size, conv_size].

    State:
        S [batch, num_heads, d, d + 1], the model (W, b), which is ``first_model`` at first; with a convolution it is
        (S, window [batch, conv_size - 1, 3 hidden_size]).

    Raises:
        ValueError: a size is not a positive integer, ``num_heads`` does not divide ``hidden_size``, or ``conv_size``
            is below 2.

    References:
        Sun et al. 2024, Learning to (learn at test time): RNNs with expressive hidden states, arXiv:2407.04620,
        section 2.

    Example:
        >>> y, S = TTTLinear(3, 8, num_heads=2)(torch.randn(2, 5, 3))
        >>> y.shape, S.shape
        (torch.Size([2, 5, 8]), torch.Size([2, 2, 4, 5]))
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        num_heads: int | None = None,
        conv_size: int | None = None,
        device: Device = None,
        dtype: torch.dtype | None = None,
    ):
        super().__init__(
            input_size,
            hidden_size,
            num_heads=num_heads,
            key_size=None,
            conv_size=conv_size,
            decay_gate=None,
            output_gate=False,
        )
        self.first_model = nn.Parameter(torch.empty(self._matrix_shape()))
        self.gain = nn.Parameter(torch.empty(self.num_heads, self.value_size))
        self.shift = nn.Parameter(torch.empty(self.num_heads, self.value_size))
        self.norm = nn.LayerNorm(self.hidden_size, eps=EPS)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw every parameter anew: W_0 from a normal distribution with deviation 0.02, b_0 is 0."""
        super().reset_parameters()
        nn.init.normal_(self.first_model, std=0.02)
        with torch.no_grad():
            self.first_model[..., -1] = 0
        nn.init.ones_(self.gain)
        nn.init.zeros_(self.shift)
        self.norm.reset_parameters()

    def _initial_matrix(self, batch_size: int) -> Tensor:
        return self.first_model.expand(batch_size, -1, -1, -1).clone()

    def _matrix_shape(self) -> tuple[int, int, int]:
        return self.num_heads, self.value_size, self.key_size + 1

    def _recur(self, drive: Drive, S: Tensor, episodes: Episodes | None) -> tuple[Tensor, Tensor]:
        q, k, v = drive.q, drive.k[:, :, 0], drive.v[:, :, 0]
        rate = torch.sigmoid(drive.beta[:, :, 0]) / self.value_size
        start = torch.zeros_like(q[:, 0])
        if episodes is not None:
            episodes = episodes._replace(reset_state=(episodes.reset_state[0].to(S), start))
        inputs = [F.pad(q, (0, 1), value=1.0), F.pad(k, (0, 1), value=1.0), v - k, rate]
        (_, u), (S, _) = run_step(step, inputs, [S, start], [self.gain, self.shift], episodes=episodes)
        return self.norm((q + u).flatten(2)), S


@no_type_check  # a wrapper around it would count as something that may change: traced in every call
def step(state: Tensors, inputs: Tensors, params: Tensors) -> Tensors:
    """Compute one time step, in the form of :func:`remanence.scan`; LN(S q) is a state so that it is returned.

    Args:
        state: S [batch, heads, d, d + 1], and LN(S q) [batch, heads, d] of the previous step, which is not used.
        inputs: q and k [batch, heads, d + 1], whose last channel is 1; v - k [batch, heads, d]; η [batch, heads].
        params: gain and shift of the norm, [heads, d] each.

    Returns:
        The new S, and LN(S q).
    """
    (S, _), (q, k, target, rate), (gain, shift) = state, inputs, params
    scaled, inverse_deviation = _standardize((S * k[..., None, :]).sum(-1))
    of_scaled = gain * (gain * scaled + shift - target)
    mean, overlap = of_scaled.mean(-1, keepdim=True), (of_scaled * scaled).mean(-1, keepdim=True)
    grad = (of_scaled - mean - scaled * overlap) * inverse_deviation
    S = S - (rate[..., None] * grad)[..., :, None] * k[..., None, :]
    return S, gain * _standardize((S * q[..., None, :]).sum(-1))[0] + shift


@no_type_check
def _standardize(u: Tensor) -> tuple[Tensor, Tensor]:
    u = u - u.mean(-1, keepdim=True)
    inverse_deviation = torch.rsqrt((u * u).mean(-1, keepdim=True) + EPS)
    return u * inverse_deviation, inverse_deviation
