"""The reciprocal gated cell."""

import math
from collections.abc import Callable
from functools import partial
from typing import Literal, no_type_check

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from remanence.errors import UserError
from remanence.nn.memory import Memory
from remanence.nn.structure import Device
from remanence.ops.episodes import Episodes, as_options
from remanence.ops.scan.operation import scan

GATES: dict[str, Callable[[Tensor], Tensor]] = {"tanh": torch.tanh, "sigmoid": torch.sigmoid}


class ReciprocalGated(Memory):
    """Reciprocal gated cell: a cell state c and an output h, each of which gates its own decay and the other's input.

    Pointwise over units::

        c <- elu((1 - f(w_cc c + b_cc)) c + (1 - f(w_ch h + b_ch)) (W_c x + b_c))
        h <- elu((1 - f(w_hh h + b_hh)) h + (1 - f(w_hc c + b_hc)) (W_h x + b_h))

    where both right-hand sides use the previous c and h. The published cell convolves c and h over space and channels;
    here the recurrent weights are diagonal, so that the whole sequence is one fused scan (:func:`remanence.scan`).

    Args:
        input_size: number of input channels.
        hidden_size: number of units.
        gate: f: ``"tanh"`` (default; a gate whose weights are 0 passes everything, and the unit integrates its input)
            or ``"sigmoid"`` (a gate whose weights are 0 passes half).
        device: device of the parameters; default: PyTorch's default.
        dtype: dtype of the parameters; default: PyTorch's default.

    Parameters:
        weight_ih [2 hidden_size, input_size] (W) and bias [2 hidden_size] (b), the rows of c before those of h;
        weight_hh and bias_hh [4, hidden_size], in the order cc, ch, hh, hc.

    State:
        (c, h), each [batch, hidden_size], initially zero.

    Raises:
        ValueError: a size is not a positive integer, or the gate is unknown.

    References:
        Nayebi et al. 2018, Task-driven convolutional recurrent models of the visual system, section 2.

    Example:
        >>> layer = ReciprocalGated(3, 8)
        >>> y, (c, h) = layer(torch.randn(2, 5, 3))
        >>> y.shape, torch.equal(y[:, -1], h)
        (torch.Size([2, 5, 8]), True)
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        gate: Literal["tanh", "sigmoid"] = "tanh",
        device: Device = None,
        dtype: torch.dtype | None = None,
    ):
        super().__init__(input_size, hidden_size)
        if gate not in GATES:
            raise UserError(f"gate must be one of {', '.join(GATES)}, got {gate!r}")
        self.gate = gate
        self.weight_ih = nn.Parameter(torch.empty(2 * hidden_size, input_size))  # W
        self.bias = nn.Parameter(torch.empty(2 * hidden_size))  # b
        self.weight_hh = nn.Parameter(torch.empty(4, hidden_size))  # w
        self.bias_hh = nn.Parameter(torch.empty(4, hidden_size))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Reinitialise W and b as in ``torch.nn.Linear``; small recurrent weights, so that units keep their state."""
        bound = 1 / math.sqrt(self.input_size)
        nn.init.uniform_(self.weight_ih, -bound, bound)
        nn.init.uniform_(self.bias, -bound, bound)
        nn.init.uniform_(self.weight_hh, -0.1, 0.1)
        nn.init.zeros_(self.bias_hh)
        with torch.no_grad():  # with tanh, a negative self-weight would let a state grow without bound
            self.weight_hh[::2].abs_()

    def initial_state(self, batch_size: int) -> tuple[Tensor, Tensor]:
        """Return (c, h), both zero."""
        c = self._zeros(batch_size, self.hidden_size)
        return c, torch.zeros_like(c)

    def _run(
        self, x: Tensor, state: tuple[Tensor, Tensor], *, episodes: Episodes | None = None
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        (_, h), (last_c, last_h) = scan(
            self._step, self._compute_drives(x), state, self._params(), **as_options(episodes)
        )
        return h, (last_c, last_h)

    def _advance(self, x_t: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        c, h = self._step(state, self._compute_drives(x_t).unbind(-2), self._params().unbind(0))
        return h, (c, h)

    @property
    def _step(self) -> partial[tuple[Tensor, Tensor]]:
        return partial(reciprocal_step, GATES[self.gate])

    def _params(self) -> Tensor:
        return torch.cat((self.weight_hh, self.bias_hh, self.bias.view(2, -1)))

    def _compute_drives(self, x: Tensor) -> Tensor:
        """Compute W x, [..., 2, hidden_size]."""
        return F.linear(x, self.weight_ih).unflatten(-1, (2, -1))


@no_type_check  # a type-checking wrapper would make scan trace the step again in every call
def reciprocal_step(
    f: Callable[[Tensor], Tensor], state: tuple[Tensor, ...], inputs: tuple[Tensor, ...], params: tuple[Tensor, ...]
) -> tuple[Tensor, Tensor]:
    """Compute one time step, in the form of :func:`remanence.scan`.

    Args:
        f: the gates' nonlinearity.
        state: (c, h).
        inputs: W x for c and for h.
        params: w and then b of the gates, each in the order cc, ch, hh, hc; then b of c and of h.
    """
    c, h = state
    of_c, of_h = (drive + bias for drive, bias in zip(inputs, params[8:], strict=True))
    cc, ch, hh, hc = (1 - f(w * v + b) for w, b, v in zip(params[:4], params[4:8], (c, h, h, c), strict=True))
    return F.elu(cc * c + ch * of_c), F.elu(hh * h + hc * of_h)
