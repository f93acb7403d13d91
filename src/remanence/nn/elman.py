"""The simple recurrent network of Elman (1990), and the IRNN of Le et al. (2015)."""

from typing import Literal, no_type_check

import torch
from torch import Tensor, nn

from remanence._kernels.addressing import is_transformed
from remanence.errors import UserError
from remanence.nn.memory import Memory, State
from remanence.nn.structure import Device
from remanence.ops.episodes import Episodes
from remanence.ops.recurrence import is_faster, run_step
from remanence.ops.scan.layout import Tensors


class Elman(Memory):
    """Simple recurrent network: ``h_t = f(W_ih x_t + W_hh h_{t-1} + b)``.

    With ``nonlinearity="relu", identity_init=True`` it is the IRNN, which initially holds its state.

    Args:
        input_size: number of input channels.
        hidden_size: number of units.
        nonlinearity: f, ``"tanh"`` (default) or ``"relu"``.
        identity_init: whether to initialise W_hh to the identity, b to zero and W_ih from a normal distribution of
            standard deviation 0.001 (Le et al., section 4); default: False, all uniform in ±1/√hidden_size, as in
            ``torch.nn.RNN``.
        device: device of the parameters; default: PyTorch's default.
        dtype: dtype of the parameters; default: PyTorch's default.

    State:
        h [batch, hidden_size], initially zero.

    Raises:
        ValueError: a size is not a positive integer, or the nonlinearity is unknown.

    References:
        Elman, "Finding structure in time", 1990. Le, Jaitly, Hinton, "A simple way to initialize recurrent networks of
        rectified linear units", 2015, arXiv:1504.00941.

    Example:
        >>> layer = Elman(3, 8, nonlinearity="relu", identity_init=True)
        >>> y, h = layer(torch.randn(2, 5, 3))
        >>> y.shape, h.shape
        (torch.Size([2, 5, 8]), torch.Size([2, 8]))
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        nonlinearity: Literal["tanh", "relu"] = "tanh",
        identity_init: bool = False,
        device: Device = None,
        dtype: torch.dtype | None = None,
    ):
        super().__init__(input_size, hidden_size)
        if nonlinearity not in ("tanh", "relu"):
            raise UserError(f"nonlinearity must be 'tanh' or 'relu', got {nonlinearity!r}")
        self.nonlinearity = nonlinearity
        self.identity_init = identity_init
        self.weight_ih = nn.Parameter(torch.empty(hidden_size, input_size))
        self.weight_hh = nn.Parameter(torch.empty(hidden_size, hidden_size))
        self.bias = nn.Parameter(torch.empty(hidden_size))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Reinitialise all parameters; see ``identity_init``."""
        if self.identity_init:
            nn.init.normal_(self.weight_ih, std=0.001)
            nn.init.eye_(self.weight_hh)
            nn.init.zeros_(self.bias)
        else:
            for parameter in self.parameters():
                nn.init.uniform_(parameter, -(self.hidden_size**-0.5), self.hidden_size**-0.5)

    def _run(self, x: Tensor, state: State, *, episodes: Episodes | None = None) -> tuple[Tensor, State]:
        if episodes or is_transformed() or is_faster(x, state, *self.parameters(), shortest=32):
            drive = nn.functional.linear(x, self.weight_ih, self.bias)
            (y,), (h,) = run_step(STEPS[self.nonlinearity], [drive], [state], [self.weight_hh], episodes=episodes)
            return y, h
        fused = torch.rnn_tanh if self.nonlinearity == "tanh" else torch.rnn_relu
        weights = [self.weight_ih, self.weight_hh, self.bias, torch.zeros_like(self.bias)]
        y, h = fused(x, state[None], weights, True, 1, 0.0, self.training, False, True)
        return y, h[0]

    def _advance(self, x_t: Tensor, state: State) -> tuple[Tensor, State]:
        drive = nn.functional.linear(x_t, self.weight_ih, self.bias)
        (h,) = STEPS[self.nonlinearity]((state,), (drive,), (self.weight_hh,))
        return h, h


@no_type_check  # a type-checking wrapper would make scan trace the step again in every call
def tanh_step(state: Tensors, inputs: Tensors, params: Tensors) -> Tensors:
    """Compute h <- tanh(x + W h)."""
    return (torch.tanh(inputs[0] + nn.functional.linear(state[0], params[0])),)


@no_type_check
def relu_step(state: Tensors, inputs: Tensors, params: Tensors) -> Tensors:
    """Compute h <- ReLU(x + W h)."""
    return (torch.relu(inputs[0] + nn.functional.linear(state[0], params[0])),)


STEPS = {"tanh": tanh_step, "relu": relu_step}
