"""The associative LSTM of Danihelka et al. (2016): an LSTM whose cells are addressed by complex keys."""

from functools import partial
from typing import no_type_check

import numpy as np
import torch
from torch import Tensor, nn

from remanence.checks import positive_integer
from remanence.errors import UserError
from remanence.nn.memory import Memory, State
from remanence.nn.structure import Device, draw_permutation
from remanence.ops.episodes import Episodes
from remanence.ops.recurrence import run_step
from remanence.ops.scan.layout import Tensors


@no_type_check
def complex_multiply(a: Tensor, b: Tensor) -> Tensor:
    """Multiply complex vectors stored as [..., real half | imaginary half] (⊛ in the paper)."""
    a_re, a_im = a.chunk(2, -1)
    b_re, b_im = b.chunk(2, -1)
    return torch.cat([a_re * b_re - a_im * b_im, a_re * b_im + a_im * b_re], -1)


@no_type_check
def bound(z: Tensor) -> Tensor:
    """Divide every complex component by max(1, its modulus)."""
    re, im = z.chunk(2, -1)
    # The square is clamped, not the root, whose gradient at 0 is infinite.
    d = (re.square() + im.square()).clamp(min=1).sqrt()
    return z / torch.cat([d, d], -1)


class AssociativeLSTM(Memory):
    """Associative LSTM: stores contents under complex keys, in redundant copies whose noise averages out.

    With complex vectors written [real | imaginary], ``P_s`` a fixed permutation for each copy s, and
    ``bound(z) = z / max(1, |z|)`` by component::

        g_f, g_i, g_o = σ(W_g x_t + U_g h_{t-1} + b_g)          real, one for both halves
        r_i, r_o, u   = bound(W x_t + U h_{t-1} + b)            input key, output key, content
        c_{s,t}       = g_f c_{s,t-1} + (P_s r_i) ⊛ (g_i u)
        h_t           = g_o bound(1/N Σ_s (P_s r_o) ⊛ c_{s,t})

    Args:
        input_size: number of input channels.
        hidden_size: number of units, N_h; must be even: half of them are real parts, half imaginary parts.
        copies: number of redundant copies of the memory, N; they add no parameters. Default: 8.
        device: device of the parameters; default: PyTorch's default.
        dtype: dtype of the parameters; default: PyTorch's default.

    State:
        (h [batch, hidden_size], c [batch, copies, hidden_size]), initially zero.

    Raises:
        ValueError: ``hidden_size`` is odd, or a size is not a positive integer.

    References:
        Danihelka, Wayne, Uria, Kalchbrenner, Graves, "Associative long short-term memory", 2016, arXiv:1602.03032,
        section 5.

    Example:
        >>> y, (h, c) = AssociativeLSTM(3, 8, copies=2)(torch.randn(2, 5, 3))
        >>> y.shape, c.shape
        (torch.Size([2, 5, 8]), torch.Size([2, 2, 8]))
    """

    permutations: Tensor

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        copies: int = 8,
        device: Device = None,
        dtype: torch.dtype | None = None,
    ):
        super().__init__(input_size, hidden_size)
        if hidden_size % 2:
            raise UserError(f"hidden_size must be even (half real, half imaginary parts), got {hidden_size}")
        self.copies = positive_integer("copies", copies)
        half = hidden_size // 2
        rows = sum(split_sizes(hidden_size))
        self.weight_ih = nn.Parameter(torch.empty(rows, input_size))
        self.weight_hh = nn.Parameter(torch.empty(rows, hidden_size))
        self.bias = nn.Parameter(torch.empty(rows))
        orders = np.stack([draw_permutation(half, seed) for seed in range(copies)])
        # The real and imaginary halves share one permutation.
        self.fix("permutations", np.concatenate([orders, orders + half], 1), saved=True, follows=True)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Reinitialise all parameters uniformly in ±1/√hidden_size; the forget gates are initially open (bias 1)."""
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -(self.hidden_size**-0.5), self.hidden_size**-0.5)
        with torch.no_grad():
            self.bias[: self.hidden_size // 2] = 1.0

    def initial_state(self, batch_size: int) -> State:
        """Return (h, c), both zero."""
        return self._zeros(batch_size, self.hidden_size), self._zeros(batch_size, self.copies, self.hidden_size)

    def _run(self, x: Tensor, state: State, *, episodes: Episodes | None = None) -> tuple[Tensor, State]:
        drive = nn.functional.linear(x, self.weight_ih, self.bias)
        step = partial(associative_step, self.permutations)
        (y, _), state = run_step(step, [drive], state, [self.weight_hh], episodes=episodes)
        return y, state

    def _advance(self, x_t: Tensor, state: State) -> tuple[Tensor, State]:
        drive = nn.functional.linear(x_t, self.weight_ih, self.bias)
        state = associative_step(self.permutations, state, (drive,), (self.weight_hh,))
        return state[0], state


@no_type_check  # a type-checking wrapper would make scan trace the step again in every call
def associative_step(permutations: Tensor, state: Tensors, inputs: Tensors, params: Tensors) -> Tensors:
    """Compute one step, given the contribution of its input."""
    (h, c), (drive,), (weight,) = state, inputs, params
    size = h.shape[-1]
    gates, key_in, key_out, content = (drive + nn.functional.linear(h, weight)).split(split_sizes(size), -1)
    # [batch, 3, hidden]: each gate repeated for the real and the imaginary half.
    g_f, g_i, g_o = torch.sigmoid(gates).unflatten(-1, (3, -1)).repeat(1, 1, 2).unbind(1)
    r_i, r_o = (bound(key)[:, permutations] for key in (key_in, key_out))  # [batch, copies, hidden]
    c = g_f[:, None] * c + complex_multiply(r_i, (g_i * bound(content))[:, None])
    return g_o * bound(complex_multiply(r_o, c).mean(1)), c


@no_type_check
def split_sizes(hidden_size: int) -> list[int]:
    """Return the numbers of rows of the three gates (one row for both halves), the two keys and the content."""
    return [3 * hidden_size // 2, hidden_size, hidden_size, hidden_size]
