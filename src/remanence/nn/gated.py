"""LSTM and GRU with the weights of PyTorch's own layers."""

from typing import no_type_check

import torch
from torch import Tensor, nn

from remanence._kernels.addressing import is_transformed
from remanence.nn.memory import Memory, State
from remanence.nn.structure import Device
from remanence.ops import autocast, opaque_call
from remanence.ops.episodes import Episodes
from remanence.ops.recurrence import is_faster, run_step
from remanence.ops.scan.layout import Tensors


class _Gated(Memory):
    """What ``LSTM`` and ``GRU`` share: weights in a module of PyTorch, which ``torch.compile`` does not look into."""

    rnn: nn.RNNBase

    steps_in_graph = False

    def __init__(self, input_size: int, hidden_size: int, kind: type[nn.LSTM] | type[nn.GRU]):
        super().__init__(input_size, hidden_size)
        self.rnn = kind(self.input_size, self.hidden_size, batch_first=True)
        self._list_weights()

    def list_parameters(self) -> list[Tensor]:
        """Return the parameters, from a list that is not in ``rnn``."""
        return self._weights

    def _example(self) -> Tensor:
        # Outside of compiled code the parameters themselves, which functional_call may have exchanged.
        return self._weights[0] if opaque_call.is_in_torch_compile() else super()._example()

    def _list_weights(self) -> None:
        self._weights: list[Tensor] = list(self.rnn.parameters())

    def _place_all(self) -> None:
        super()._place_all()
        self._list_weights()  # a change of device, or loading, may replace them


class LSTM(_Gated):
    """Long short-term memory (Hochreiter & Schmidhuber, 1997), computed by ``torch.nn.LSTM``.

    ``i, f, o = σ(W x_t + U h_{t-1} + b)``, ``c_t = f c_{t-1} + i tanh(...)``, ``h_t = o tanh(c_t)``.

    Args:
        input_size: channels of the input.
        hidden_size: units.
        device: of the parameters; default: PyTorch's.
        dtype: likewise.

    State:
        (h, c), each [batch, hidden_size].

    The weights live in ``layer.rnn``, a ``torch.nn.LSTM``: ``layer.rnn.load_state_dict`` takes those of another.

    Example:
        >>> y, (h, c) = LSTM(3, 8)(torch.randn(2, 5, 3))
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
        super().__init__(input_size, hidden_size, nn.LSTM)

    def initial_state(self, batch_size: int) -> State:
        """Return (h, c), both zero."""
        return self._zeros(batch_size, self.hidden_size), self._zeros(batch_size, self.hidden_size)

    def _run(self, x: Tensor, state: State, *, episodes: Episodes | None = None) -> tuple[Tensor, State]:
        h, c = state
        if episodes or is_transformed():  # torch.nn.LSTM has no rules for them
            weight_ih, weight_hh, bias_ih, bias_hh = self.rnn.all_weights[0]
            drive = nn.functional.linear(x, weight_ih, bias_ih + bias_hh)
            (y, _), state = run_step(lstm_step, [drive], [h, c], [weight_hh], episodes=episodes)
            return y, state
        if not autocast.lacks_fused_lstm(x.device):
            y, (h, c) = self.rnn(x, (h[None], c[None]))
            return y, (h[0], c[0])
        dtype = torch.get_autocast_dtype(x.device.type)
        with autocast.disable(x.device):
            y, (h, c) = self.rnn(x.float(), (h[None].float(), c[None].float()))
        return y.to(dtype), (h[0].to(dtype), c[0].to(dtype))

    def _advance(self, x_t: Tensor, state: State) -> tuple[Tensor, State]:
        y, state = self._run(x_t[:, None], state)
        return y[:, 0], state


@no_type_check
def lstm_step(state: Tensors, inputs: Tensors, params: Tensors) -> Tensors:
    """Compute a step of an LSTM from what its input contributes."""
    (h, c), (drive,), (weight,) = state, inputs, params
    i, f, g, o = (drive + nn.functional.linear(h, weight)).chunk(4, -1)
    c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
    return torch.sigmoid(o) * torch.tanh(c), c


class GRU(_Gated):
    """Gated recurrent unit (Cho et al., 2014), as ``torch.nn.GRU`` defines it.

    ``r, z = σ(W x_t + U h_{t-1} + b)``, ``n = tanh(W x_t + r (U h_{t-1} + b))``, ``h_t = (1 - z) n + z h_{t-1}``.

    Args:
        input_size: channels of the input.
        hidden_size: units.
        device: of the parameters; default: PyTorch's.
        dtype: likewise.

    State:
        h [batch, hidden_size].

    The weights live in ``layer.rnn``, a ``torch.nn.GRU``. On CPUs the loop is one of :func:`remanence.scan`, which is
    faster than PyTorch's (``benchmarks/recurrence.py``); elsewhere it is that of ``layer.rnn``.

    Example:
        >>> y, h = GRU(3, 8)(torch.randn(2, 5, 3))
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
        super().__init__(input_size, hidden_size, nn.GRU)

    def _run(self, x: Tensor, state: State, *, episodes: Episodes | None = None) -> tuple[Tensor, State]:
        weights = self.rnn.all_weights[0]
        if episodes or is_transformed() or is_faster(x, state, *weights, shortest=8):
            weight_ih, weight_hh, bias_ih, bias_hh = weights
            drive = nn.functional.linear(x, weight_ih, bias_ih)
            (y,), (h,) = run_step(gru_step, [drive], [state], [weight_hh, bias_hh], episodes=episodes)
            return y, h
        y, h = self.rnn(x, state[None])
        return y, h[0]

    def _advance(self, x_t: Tensor, state: State) -> tuple[Tensor, State]:
        y, state = self._run(x_t[:, None], state)
        return y[:, 0], state


@no_type_check  # a wrapper around it would count as something that may change: traced in every call
def gru_step(state: Tensors, inputs: Tensors, params: Tensors) -> Tensors:
    """Compute a step of a GRU from what its input contributes."""
    (h,), (drive,), (weight, bias) = state, inputs, params
    r, z, n = drive.chunk(3, -1)
    of_r, of_z, of_n = nn.functional.linear(h, weight, bias).chunk(3, -1)
    z = torch.sigmoid(z + of_z)
    n = torch.tanh(n + torch.sigmoid(r + of_r) * of_n)
    return (n + z * (h - n),)
