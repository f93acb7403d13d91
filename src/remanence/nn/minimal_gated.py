"""The minimal gated unit (Zhou et al. 2016)."""

from typing import no_type_check

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from remanence.nn.memory import Memory
from remanence.nn.structure import Device
from remanence.ops.episodes import Episodes
from remanence.ops.recurrence import run_step
from remanence.ops.scan.layout import Tensors


class MGU(Memory):
    """Minimal gated unit: a GRU whose only gate is both its reset and its update gate.

    ::

        f_t = σ(W_f x_t + U_f h_{t-1} + b_f)
        n_t = tanh(W_n x_t + U_n (f_t h_{t-1}) + b_n)
        h_t = (1 - f_t) h_{t-1} + f_t n_t

    Args:
        input_size: number of input channels.
        hidden_size: units.
        device: device of the parameters; default: PyTorch's default.
        dtype: dtype of the parameters; default: PyTorch's default.

    Parameters:
        weight_ih [2 hidden_size, input_size], weight_hh [2 hidden_size, hidden_size] and bias [2 hidden_size], the rows
        of f before those of n, all from ±1/√hidden_size, as those of ``torch.nn.GRU``.

    State:
        h [batch, hidden_size].

    Raises:
        ValueError: a size that is not positive.

    References:
        Zhou, Wu, Zhang, Zhou, "Minimal gated unit for recurrent neural networks", 2016, arXiv:1603.09420, equations 7
        and 8.

    Example:
        >>> y, h = MGU(3, 8)(torch.randn(2, 5, 3))
        >>> y.shape
        torch.Size([2, 5, 8])
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        device: Device = None,
        dtype: torch.dtype | None = None,
    ):
        super().__init__(input_size, hidden_size)
        self.weight_ih = nn.Parameter(torch.empty(2 * hidden_size, input_size))
        self.weight_hh = nn.Parameter(torch.empty(2 * hidden_size, hidden_size))
        self.bias = nn.Parameter(torch.empty(2 * hidden_size))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the parameters anew."""
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -(self.hidden_size**-0.5), self.hidden_size**-0.5)

    def _run(self, x: Tensor, state: Tensor, *, episodes: Episodes | None = None) -> tuple[Tensor, Tensor]:
        drive = F.linear(x, self.weight_ih, self.bias)
        (y,), (h,) = run_step(mgu_step, [drive], [state], self.weight_hh.chunk(2), shortest=8, episodes=episodes)
        return y, h

    def _advance(self, x_t: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        (h,) = mgu_step((state,), (F.linear(x_t, self.weight_ih, self.bias),), self.weight_hh.chunk(2))
        return h, h


@no_type_check  # a wrapper around it would count as something that may change: traced in every call
def mgu_step(state: Tensors, inputs: Tensors, params: Tensors) -> Tensors:
    """Compute a step from what its input contributes."""
    (h,), (drive,), (of_f, of_n) = state, inputs, params
    f, n = drive.chunk(2, -1)
    f = torch.sigmoid(f + F.linear(h, of_f))
    # Not torch.lerp, which refuses a state in float32 beside products in 16 bits.
    return (h + f * (torch.tanh(n + F.linear(f * h, of_n)) - h),)
