"""LSTM and GRU with the weights of PyTorch's own layers."""

from typing import ClassVar, no_type_check

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from remanence._kernels.addressing import are_readable, is_transformed
from remanence._torch import pytree
from remanence.nn.memory import Memory, State
from remanence.nn.structure import Device
from remanence.ops import autocast, opaque_call
from remanence.ops.episodes import Episodes, align
from remanence.ops.recurrence import is_compiled, run_step
from remanence.ops.scan.layout import Tensors


class _Gated(Memory):
    """Common part of ``LSTM`` and ``GRU``: weights in a PyTorch module, which ``torch.compile`` cannot trace."""

    rnn: nn.RNNBase
    rnn_class: ClassVar[type[nn.LSTM] | type[nn.GRU]]

    steps_in_graph = False

    _packs_on: ClassVar[tuple[str, ...]] = ("cuda",)
    """Devices on which PyTorch's own loop is faster on a packed batch than a scan is on a padded one."""

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        device: Device = None,
        dtype: torch.dtype | None = None,
    ):
        super().__init__(input_size, hidden_size)
        self.rnn = self.rnn_class(self.input_size, self.hidden_size, batch_first=True)
        self._list_weights()

    def list_parameters(self) -> list[Tensor]:
        """Return the parameters from a list outside of ``rnn``."""
        return self._weights

    def _example(self) -> Tensor:
        # Outside of compiled code, the current parameter, which functional_call may have replaced.
        return self._weights[0] if opaque_call.is_in_torch_compile() else super()._example()

    def _list_weights(self) -> None:
        self._weights: list[Tensor] = list(self.rnn.parameters())

    def _place_all(self) -> None:
        super()._place_all()
        self._list_weights()  # a change of device, or loading, may replace them

    def _get_lengths_to_pack(self, x: Tensor, episodes: Episodes | None) -> Tensor | None:
        """Return the lengths of a padded batch that cuDNN runs, which knows no resets; else None."""
        if episodes is None or not episodes.only_ends or x.device.type not in self._packs_on:
            return None
        lengths = episodes.lengths
        return None if lengths is None or is_transformed() or not are_readable(x, lengths) else lengths

    def _run_packed(self, x: Tensor, state: State, lengths: Tensor) -> tuple[Tensor, State]:
        """Run a padded batch without its padding; a sample without a step gets one, which does not count."""
        packed = pack_padded_sequence(x, lengths.to("cpu", torch.int64).clamp(min=1), True, enforce_sorted=False)
        y, after = self.rnn(packed, pytree.tree_map(lambda before: before[None], state))
        y, _ = pad_packed_sequence(y, batch_first=True, total_length=x.shape[1])
        has_steps = align(lengths.to(x.device) > 0, x[:, 0])
        return y, pytree.tree_map(lambda s, before: torch.where(has_steps, s[0], before.to(s.dtype)), after, state)


class LSTM(_Gated):
    """Long short-term memory (Hochreiter & Schmidhuber, 1997), computed by ``torch.nn.LSTM``.

    ::

        i, f, o = σ(W x_t + U h_{t-1} + b)
        g = tanh(W_g x_t + U_g h_{t-1} + b_g)
        c_t = f c_{t-1} + i g
        h_t = o tanh(c_t)

    On GPUs a padded batch (``lengths=``) is packed for cuDNN; ``reset=`` runs as a loop of :func:`remanence.scan`.

    Args:
        input_size: number of input channels.
        hidden_size: number of units.
        device: device of the parameters; default: PyTorch's default.
        dtype: dtype of the parameters; default: PyTorch's default.

    Parameters:
        Those of ``layer.rnn``, a ``torch.nn.LSTM``; to copy the weights of another ``torch.nn.LSTM``, call
        ``layer.rnn.load_state_dict(other.state_dict())``.

    State:
        (h, c), each [batch, hidden_size], initially zero.

    Raises:
        ValueError: a size is not a positive integer.

    Example:
        >>> y, (h, c) = LSTM(3, 8)(torch.randn(2, 5, 3))
        >>> y.shape
        torch.Size([2, 5, 8])
    """

    rnn_class = nn.LSTM

    def initial_state(self, batch_size: int) -> State:
        """Return (h, c), both zero."""
        return self._zeros(batch_size, self.hidden_size), self._zeros(batch_size, self.hidden_size)

    def _run(self, x: Tensor, state: State, *, episodes: Episodes | None = None) -> tuple[Tensor, State]:
        h, c = state
        lengths = self._get_lengths_to_pack(x, episodes)
        if lengths is not None:
            return self._run_packed(x, state, lengths)
        if episodes or is_transformed():  # torch.nn.LSTM supports neither
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
    """Compute one step of an LSTM, given the contribution of its input."""
    (h, c), (drive,), (weight,) = state, inputs, params
    i, f, g, o = (drive + nn.functional.linear(h, weight)).chunk(4, -1)
    c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
    return torch.sigmoid(o) * torch.tanh(c), c


class GRU(_Gated):
    """Gated recurrent unit (Cho et al., 2014), as ``torch.nn.GRU`` defines it.

    ::

        r, z = σ(W x_t + U h_{t-1} + b)
        n = tanh(W_n x_t + b_n + r (U_n h_{t-1} + d_n))
        h_t = (1 - z) n + z h_{t-1}

    On CPUs the loop over time is a :func:`remanence.scan`, which is faster than PyTorch's
    (``benchmarks/recurrence.py``); elsewhere ``layer.rnn`` runs it.

    Args:
        input_size: number of input channels.
        hidden_size: number of units.
        device: device of the parameters; default: PyTorch's default.
        dtype: dtype of the parameters; default: PyTorch's default.

    Parameters:
        Those of ``layer.rnn``, a ``torch.nn.GRU``; to copy the weights of another ``torch.nn.GRU``, call
        ``layer.rnn.load_state_dict(other.state_dict())``.

    State:
        h [batch, hidden_size], initially zero.

    Raises:
        ValueError: a size is not a positive integer.

    Example:
        >>> y, h = GRU(3, 8)(torch.randn(2, 5, 3))
        >>> y.shape
        torch.Size([2, 5, 8])
    """

    rnn_class = nn.GRU

    def _run(self, x: Tensor, state: State, *, episodes: Episodes | None = None) -> tuple[Tensor, State]:
        weights = self.rnn.all_weights[0]
        lengths = self._get_lengths_to_pack(x, episodes)
        if lengths is not None:
            return self._run_packed(x, state, lengths)
        if episodes or is_transformed() or is_compiled(x, state, *weights, shortest=8):
            weight_ih, weight_hh, bias_ih, bias_hh = weights
            drive = nn.functional.linear(x, weight_ih, bias_ih)
            (y,), (h,) = run_step(gru_step, [drive], [state], [weight_hh, bias_hh], episodes=episodes)
            return y, h
        y, h = self.rnn(x, state[None])
        return y, h[0]

    def _advance(self, x_t: Tensor, state: State) -> tuple[Tensor, State]:
        y, state = self._run(x_t[:, None], state)
        return y[:, 0], state


@no_type_check  # a type-checking wrapper would make scan trace the step again in every call
def gru_step(state: Tensors, inputs: Tensors, params: Tensors) -> Tensors:
    """Compute one step of a GRU, given the contribution of its input."""
    (h,), (drive,), (weight, bias) = state, inputs, params
    r, z, n = drive.chunk(3, -1)
    of_r, of_z, of_n = nn.functional.linear(h, weight, bias).chunk(3, -1)
    z = torch.sigmoid(z + of_z)
    n = torch.tanh(n + torch.sigmoid(r + of_r) * of_n)
    return (n + z * (h - n),)
