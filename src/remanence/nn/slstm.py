"""The sLSTM of xLSTM (Beck et al. 2024)."""

from functools import partial
from typing import Literal, no_type_check

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from remanence.checks import positive_integer
from remanence.errors import UserError
from remanence.nn.memory import Memory, State
from remanence.nn.structure import Device
from remanence.ops.episodes import Episodes
from remanence.ops.recurrence import run_step
from remanence.ops.scan.layout import Tensors

FORGET_GATES = ("sigmoid", "exp")


class SLSTM(Memory):
    """sLSTM: an LSTM with exponential gates, a normaliser n, and heads that do not see each other within a step.

    With a drive W x + R h + b of its own for each of z, i, f, o, where R is block-diagonal with a block for each head::

        m_t = max(log f_t + m_{t-1}, i)              log f_t = log σ(f), or f for an exponential forget gate
        c_t = exp(log f_t + m_{t-1} - m_t) c_{t-1} + exp(i - m_t) tanh(z)
        n_t = exp(log f_t + m_{t-1} - m_t) n_{t-1} + exp(i - m_t)
        h_t = σ(o) c_t / n_t

    The stabiliser m keeps the exponentials in range and cancels out of h.

    Args:
        input_size: number of input channels.
        hidden_size: units, a multiple of ``heads``.
        heads: blocks of R.
        forget_gate: ``"sigmoid"`` or ``"exp"``.
        device: device of the parameters; default: PyTorch's default.
        dtype: dtype of the parameters; default: PyTorch's default.

    Parameters:
        weight_ih [4 hidden_size, input_size] (W) and bias [4 hidden_size] (b), for each head the rows of z, i, f, o;
        weight_hh [heads, 4 units, units] (R) with units = hidden_size / heads. R starts at 0, and the biases of the
        forget gates of a head are spread from 5 to -7, as in the authors' code.

    State:
        (h, c, n, m), each [batch, hidden_size]; all start at 0 but m, which starts so low that nothing is remembered.

    Raises:
        ValueError: a size that is not positive, heads that do not divide ``hidden_size``, or an unknown forget gate.

    References:
        Beck et al., "xLSTM: Extended long short-term memory", 2024, arXiv:2405.04517, section 2.2 and appendix A.2.

    Example:
        >>> y, (h, c, n, m) = SLSTM(3, 8, heads=2)(torch.randn(2, 5, 3))
        >>> y.shape, bool((n >= 1).all())
        (torch.Size([2, 5, 8]), True)
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        heads: int = 1,
        forget_gate: Literal["sigmoid", "exp"] = "sigmoid",
        device: Device = None,
        dtype: torch.dtype | None = None,
    ):
        super().__init__(input_size, hidden_size)
        if forget_gate not in FORGET_GATES:
            raise UserError(f"forget_gate must be one of {', '.join(FORGET_GATES)}, got {forget_gate!r}")
        if hidden_size % positive_integer("heads", heads):
            raise UserError(f"hidden_size must be a multiple of heads, got {hidden_size} and {heads}")
        self.heads, self.forget_gate = heads, forget_gate
        units = hidden_size // heads
        self.weight_ih = nn.Parameter(torch.empty(4 * hidden_size, input_size))  # W
        self.weight_hh = nn.Parameter(torch.empty(heads, 4 * units, units))  # R
        self.bias = nn.Parameter(torch.empty(4 * hidden_size))  # b
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw W anew, with deviation √(2 / 5 input_size); R and the other parameters start at constants."""
        nn.init.normal_(self.weight_ih, std=(0.4 / self.input_size) ** 0.5)
        nn.init.zeros_(self.weight_hh)
        nn.init.zeros_(self.bias)
        units = self.hidden_size // self.heads
        spread = (torch.arange(units) / max(units - 1, 1)) ** 0.3
        with torch.no_grad():
            self.bias.view(self.heads, 4, units)[:, 2] = 5 - 12 * spread

    def initial_state(self, batch_size: int) -> State:
        """Return (h, c, n, m)."""
        h = self._zeros(batch_size, self.hidden_size)
        m = torch.full_like(h, torch.finfo(h.dtype).min / 2)  # finite, and below all that follows
        return h, torch.zeros_like(h), torch.zeros_like(h), m

    def _run(self, x: Tensor, state: State, *, episodes: Episodes | None = None) -> tuple[Tensor, State]:
        drive = F.linear(x, self.weight_ih, self.bias)
        (y, *_), state = run_step(self._step, [drive], state, [self.weight_hh], shortest=8, episodes=episodes)
        return y, state

    def _advance(self, x_t: Tensor, state: State) -> tuple[Tensor, State]:
        state = self._step(state, (F.linear(x_t, self.weight_ih, self.bias),), (self.weight_hh,))
        return state[0], state

    def extra_repr(self) -> str:
        """Sizes, heads and forget gate, as `print(layer)` shows them."""
        return f"{super().extra_repr()}, heads={self.heads}, forget_gate={self.forget_gate!r}"

    @property
    def _step(self) -> partial[Tensors]:
        return partial(slstm_step, self.heads, self.forget_gate == "exp")


@no_type_check  # a wrapper around it would count as something that may change: traced in every call
def slstm_step(heads: int, is_exponential: bool, state: Tensors, inputs: Tensors, params: Tensors) -> Tensors:
    """Compute a step from what its input contributes."""
    (drive,), (weight,) = inputs, params
    h, c, n, m = (s.unflatten(-1, (heads, -1)) for s in state)  # [batch, heads, units]
    z, i, f, o = (drive.unflatten(-1, (heads, -1)) + torch.einsum("bhj,hij->bhi", h, weight)).chunk(4, -1)
    kept = m + (f if is_exponential else F.logsigmoid(f))
    m = torch.maximum(kept, i)
    keep, write = torch.exp(kept - m), torch.exp(i - m)
    c, n = keep * c + write * torch.tanh(z), keep * n + write
    return tuple(s.flatten(-2) for s in (torch.sigmoid(o) * c / n, c, n, m))
