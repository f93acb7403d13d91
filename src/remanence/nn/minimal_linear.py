"""The minGRU and the minLSTM (Feng et al. 2024): gates that see the input only, and a state that enters linearly."""

from collections.abc import Callable
from functools import partial
from typing import no_type_check

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from remanence.nn.memory import Memory
from remanence.nn.structure import Device
from remanence.ops.episodes import Episodes, as_options
from remanence.ops.scan.layout import Tensors
from remanence.ops.scan.operation import scan


class _Minimal(Memory):
    """What both share: drives W x + b for each gate and for the candidate, and a pointwise step."""

    def __init__(self, input_size: int, hidden_size: int, step: Callable[..., Tensors], drives: int, positive: bool):
        super().__init__(input_size, hidden_size)
        self.positive = positive
        self.drive = nn.Linear(input_size, drives * hidden_size)
        self._drives, self._step = drives, partial(step, positive)

    def _run(self, x: Tensor, state: Tensor, *, episodes: Episodes | None = None) -> tuple[Tensor, Tensor]:
        drives = self.drive(x).unflatten(-1, (self._drives, -1))
        (y,), (h,) = scan(self._step, drives, [state], **as_options(episodes))
        return y, h

    def _advance(self, x_t: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        (h,) = self._step((state,), self.drive(x_t).chunk(self._drives, -1), ())
        return h, h


class MinGRU(_Minimal):
    """minGRU: a GRU whose gate sees the input only, so that the state enters linearly.

    ::

        z_t = σ(W_z x_t + b_z)
        h_t = (1 - z_t) h_{t-1} + z_t g(W_h x_t + b_h)        g(a) = a + 1/2 for a ≥ 0, σ(a) below

    The paper computes this in the space of logarithms, for which g must be positive, because its parallel form divides
    by products of 1 - z that vanish. Ours never divides: on CPUs it is one fused loop, on GPUs an associative scan (see
    :mod:`remanence.ops.scan.associative`), both without logarithms, for any sign.

    Args:
        input_size: number of input channels.
        hidden_size: units.
        positive: the g above, as in the paper's experiments; False: g(a) = a, as in its section 3.1.
        device: device of the parameters; default: PyTorch's default.
        dtype: dtype of the parameters; default: PyTorch's default.

    Parameters:
        drive, a ``torch.nn.Linear`` to 2 hidden_size channels: those of z before those of h.

    State:
        h [batch, hidden_size], zero at first.

    Raises:
        ValueError: a size that is not positive.

    References:
        Feng, Tung, Ahmed, Bengio, Hajimirsadeghi, "Were RNNs all we needed?", 2024, arXiv:2410.01201, section 3.1 and
        appendix B.

    Example:
        >>> y, h = MinGRU(3, 8)(torch.randn(2, 5, 3))
        >>> y.shape, bool((y > 0).all())
        (torch.Size([2, 5, 8]), True)
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        positive: bool = True,
        device: Device = None,
        dtype: torch.dtype | None = None,
    ):
        super().__init__(input_size, hidden_size, min_gru_step, 2, positive)


class MinLSTM(_Minimal):
    """minLSTM: an LSTM without output gate, whose gates see the input only and add up to 1.

    ::

        f_t, i_t = σ(W_f x_t + b_f), σ(W_i x_t + b_i)
        h_t = (f_t h_{t-1} + i_t g(W_h x_t + b_h)) / (f_t + i_t)        g as that of :class:`MinGRU`

    f / (f + i) is computed as σ(log f - log i), which is right where both gates are so closed that f + i is 0 to the
    computer.

    Args:
        input_size: number of input channels.
        hidden_size: units.
        positive: as of :class:`MinGRU`.
        device: device of the parameters; default: PyTorch's default.
        dtype: dtype of the parameters; default: PyTorch's default.

    Parameters:
        drive, a ``torch.nn.Linear`` to 3 hidden_size channels, in the order f, i, h.

    State:
        h [batch, hidden_size], zero at first.

    Raises:
        ValueError: a size that is not positive.

    References:
        Feng et al. 2024, as for :class:`MinGRU`, section 3.2 and appendix B.

    Example:
        >>> y, h = MinLSTM(3, 8)(torch.randn(2, 5, 3))
        >>> y.shape
        torch.Size([2, 5, 8])
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        positive: bool = True,
        device: Device = None,
        dtype: torch.dtype | None = None,
    ):
        super().__init__(input_size, hidden_size, min_lstm_step, 3, positive)


@no_type_check  # a wrapper around it would count as something that may change: traced in every call
def min_gru_step(positive: bool, state: Tensors, inputs: Tensors, params: Tensors) -> Tensors:
    """Compute a step of a minGRU from what its input contributes."""
    (h,), (z, candidate) = state, inputs
    z = torch.sigmoid(z)
    return ((1 - z) * h + z * _bound(candidate, positive),)


@no_type_check
def min_lstm_step(positive: bool, state: Tensors, inputs: Tensors, params: Tensors) -> Tensors:
    """Compute a step of a minLSTM from what its input contributes."""
    (h,), (f, i, candidate) = state, inputs
    apart = F.logsigmoid(f) - F.logsigmoid(i)
    return (torch.sigmoid(apart) * h + torch.sigmoid(-apart) * _bound(candidate, positive),)


@no_type_check
def _bound(a: Tensor, positive: bool) -> Tensor:
    return torch.where(a >= 0, a + 0.5, torch.sigmoid(a)) if positive else a
