"""The bistable recurrent cells BRC and nBRC (Vecoven et al. 2021)."""

from typing import no_type_check

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from remanence.nn.memory import Memory
from remanence.nn.structure import Device
from remanence.ops.episodes import Episodes, as_options
from remanence.ops.recurrence import run_step
from remanence.ops.scan.layout import Tensors
from remanence.ops.scan.operation import scan


class BRC(Memory):
    """Bistable recurrent cell: a unit whose feedback a on itself is above 1 holds one of two values.

    ::

        a_t = 1 + tanh(U_a x_t + w_a h_{t-1} + b_a)
        c_t = σ(U_c x_t + w_c h_{t-1} + b_c)
        h_t = c_t h_{t-1} + (1 - c_t) tanh(U x_t + a_t h_{t-1})

    For x = 0 the unit rests at the solutions of h = tanh(a h): at 0 alone for a ≤ 1, and for a > 1 also at two values
    that attract, while 0 repels. In the BRC w_a and w_c are vectors, and each unit sees itself alone; in the
    neuromodulated one (nBRC) they are matrices, and all units together set where a unit is bistable, and how slow.

    Args:
        input_size: number of input channels.
        hidden_size: units.
        neuromodulated: matrices w_a and w_c, the nBRC.
        device: device of the parameters; default: PyTorch's default.
        dtype: dtype of the parameters; default: PyTorch's default.

    Parameters:
        weight_ih [3 hidden_size, input_size], the rows of U_a, U_c and U; weight_hh (w_a and w_c), [2, hidden_size] or,
        if neuromodulated, [2 hidden_size, hidden_size]; bias [2 hidden_size] (b_a and b_c, which are not in the paper,
        but in the authors' code).

    State:
        h [batch, hidden_size].

    Raises:
        ValueError: a size that is not positive.

    References:
        Vecoven, Ernst, Drion, "A bio-inspired bistable recurrent cell allows for long-lasting memory", PLOS ONE, 2021,
        arXiv:2006.05252, equations 5 to 8.

    Example:
        >>> layer = BRC(3, 8, neuromodulated=True)
        >>> y, h = layer(torch.randn(2, 5, 3))
        >>> y.shape, h.shape
        (torch.Size([2, 5, 8]), torch.Size([2, 8]))
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        neuromodulated: bool = False,
        device: Device = None,
        dtype: torch.dtype | None = None,
    ):
        super().__init__(input_size, hidden_size)
        self.neuromodulated = neuromodulated
        self.weight_ih = nn.Parameter(torch.empty(3 * hidden_size, input_size))
        shape = (2 * hidden_size, hidden_size) if neuromodulated else (2, hidden_size)
        self.weight_hh = nn.Parameter(torch.empty(shape))
        self.bias = nn.Parameter(torch.empty(2 * hidden_size))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw each matrix as Glorot and Bengio proposed; vectors w start at 1 and biases at 0 (the authors' code)."""
        for matrix in self.weight_ih.split(self.hidden_size):
            nn.init.xavier_uniform_(matrix)
        if self.neuromodulated:
            for matrix in self.weight_hh.split(self.hidden_size):
                nn.init.xavier_uniform_(matrix)
        else:
            nn.init.ones_(self.weight_hh)
        nn.init.zeros_(self.bias)

    def _run(self, x: Tensor, state: Tensor, *, episodes: Episodes | None = None) -> tuple[Tensor, Tensor]:
        drive = self._compute_drive(x)
        if self.neuromodulated:
            (y,), (h,) = run_step(nbrc_step, [drive], [state], [self.weight_hh], shortest=8, episodes=episodes)
        else:
            together = drive.unflatten(-1, (3, -1))
            (y,), (h,) = scan(brc_step, together, [state], self.weight_hh, **as_options(episodes))
        return y, h

    def _advance(self, x_t: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        drive = self._compute_drive(x_t)
        if self.neuromodulated:
            (h,) = nbrc_step((state,), (drive,), (self.weight_hh,))
        else:
            (h,) = brc_step((state,), drive.chunk(3, -1), self.weight_hh.unbind(0))
        return h, h

    def _compute_drive(self, x: Tensor) -> Tensor:
        """Compute U_a x + b_a, U_c x + b_c and U x, [..., 3 hidden_size]."""
        return F.linear(x, self.weight_ih, F.pad(self.bias, (0, self.hidden_size)))

    def extra_repr(self) -> str:
        """Sizes and kind, as `print(layer)` shows them."""
        return f"{super().extra_repr()}, neuromodulated={self.neuromodulated}"


@no_type_check  # a wrapper around it would count as something that may change: traced in every call
def brc_step(state: Tensors, inputs: Tensors, params: Tensors) -> Tensors:
    """Compute a step of a BRC, pointwise."""
    (h,), (for_a, for_c, drive), (w_a, w_c) = state, inputs, params
    return (_hold(h, for_a + w_a * h, for_c + w_c * h, drive),)


@no_type_check
def nbrc_step(state: Tensors, inputs: Tensors, params: Tensors) -> Tensors:
    """Compute a step of an nBRC."""
    (h,), (drives,), (weight,) = state, inputs, params
    for_a, for_c, drive = drives.chunk(3, -1)
    of_a, of_c = F.linear(h, weight).chunk(2, -1)
    return (_hold(h, for_a + of_a, for_c + of_c, drive),)


@no_type_check
def _hold(h: Tensor, for_a: Tensor, for_c: Tensor, drive: Tensor) -> Tensor:
    new = torch.tanh(drive + (1 + torch.tanh(for_a)) * h)
    return new + torch.sigmoid(for_c) * (h - new)
