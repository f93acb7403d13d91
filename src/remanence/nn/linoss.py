"""The linear oscillatory state-space model, LinOSS (Rusch & Rus 2025)."""

from functools import partial
from typing import Literal, no_type_check

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from remanence.errors import UserError
from remanence.nn.memory import Memory, State
from remanence.nn.structure import Device
from remanence.ops.episodes import Episodes, as_options
from remanence.ops.scan.layout import Tensors
from remanence.ops.scan.operation import scan

SCHEMES = ("im", "imex")


class LinOSS(Memory):
    """LinOSS: harmonic oscillators that the input drives, q'' = -A q + B x with a stiffness A ≥ 0 for each.

    Written with the velocity p, one step of length Δ is either implicit (``"im"``) or symplectic (``"imex"``)::

        im      p_t = (p_{t-1} + Δ (B x_t - A q_{t-1})) / (1 + Δ² A)
        imex    p_t = p_{t-1} + Δ (B x_t - A q_{t-1})
        both    q_t = q_{t-1} + Δ p_t        y_t = C q_t + D x_t

    with A = ReLU(stiffness) and Δ = timespan · σ(log_odds). The implicit rule dissipates energy, so that oscillators
    forget, and is stable for any step. The other one conserves energy, and is stable for Δ² A < 4. On CPUs it is one
    fused loop, on GPUs an associative scan where that is faster (:mod:`remanence.ops.scan.associative`). It computes in
    float32 at least: in 16 bits small steps would be lost.

    Args:
        input_size: number of input channels.
        hidden_size: oscillators.
        output_size: channels of the output; default: ``hidden_size``.
        scheme: ``"im"`` or ``"imex"``.
        device: device of the parameters; default: PyTorch's default.
        dtype: dtype of the parameters; default: PyTorch's default.

    Parameters:
        stiffness and log_odds, each [hidden_size], uniformly from 0 to 1 at first; weight_ih [hidden_size, input_size]
        (B) from ±1/√input_size; weight_ho [output_size, hidden_size] (C) from ±1/√hidden_size; and skip [output_size,
        input_size] (D). So they start in the authors' code, whose B and C are complex.

    State:
        (p, q), each [batch, hidden_size], zero at first.

    Raises:
        ValueError: a size that is not positive, or an unknown scheme.

    References:
        Rusch, Rus, "Oscillatory state-space models", 2025, arXiv:2410.03943, section 2.

    Example:
        >>> y, (p, q) = LinOSS(3, 8, scheme="imex")(torch.randn(2, 5, 3))
        >>> y.shape, q.shape
        (torch.Size([2, 5, 8]), torch.Size([2, 8]))
    """

    continuous_time = True
    in_low_precision = False

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        output_size: int | None = None,
        *,
        scheme: Literal["im", "imex"] = "im",
        device: Device = None,
        dtype: torch.dtype | None = None,
    ):
        super().__init__(input_size, hidden_size, output_size)
        if scheme not in SCHEMES:
            raise UserError(f"scheme must be one of {', '.join(SCHEMES)}, got {scheme!r}")
        self.scheme = scheme
        self.stiffness = nn.Parameter(torch.empty(hidden_size))
        self.log_odds = nn.Parameter(torch.empty(hidden_size))
        self.weight_ih = nn.Parameter(torch.empty(hidden_size, input_size))  # B
        self.weight_ho = nn.Parameter(torch.empty(self.output_size, hidden_size))  # C
        self.skip = nn.Parameter(torch.empty(self.output_size, input_size))  # D
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the parameters anew."""
        nn.init.uniform_(self.stiffness)
        nn.init.uniform_(self.log_odds)
        nn.init.uniform_(self.weight_ih, -(self.input_size**-0.5), self.input_size**-0.5)
        nn.init.uniform_(self.weight_ho, -(self.hidden_size**-0.5), self.hidden_size**-0.5)
        nn.init.normal_(self.skip, std=self.input_size**-0.5)

    def initial_state(self, batch_size: int) -> State:
        """Return (p, q), both zero."""
        p = self._zeros(batch_size, self.hidden_size)
        return p, torch.zeros_like(p)

    def _run(
        self, x: Tensor, state: State, timespans: Tensor | None = None, *, episodes: Episodes | None = None
    ) -> tuple[Tensor, State]:
        inputs = self._list_inputs(x, timespans)
        (_, q), final = scan(self._step, inputs, state, self._params(), **as_options(episodes))
        return self._read_out(q, x), final

    def _advance(self, x_t: Tensor, state: State, timespans: Tensor | None = None) -> tuple[Tensor, State]:
        state = self._step(state, self._list_inputs(x_t, timespans), self._params())
        return self._read_out(state[1], x_t), state

    @property
    def _step(self) -> partial[Tensors]:
        return partial(oscillator_step, self.scheme == "im")

    def _params(self) -> Tensors:
        return F.relu(self.stiffness), torch.sigmoid(self.log_odds)

    def _list_inputs(self, x: Tensor, timespans: Tensor | None) -> Tensors:
        force = F.linear(x, self.weight_ih)
        if timespans is None:
            return (force,)
        # The square of a longer step would not be finite.
        spans = timespans.to(force.dtype).clamp(max=torch.finfo(force.dtype).max ** 0.45)
        return force, spans[..., None].expand_as(force)

    def _read_out(self, q: Tensor, x: Tensor) -> Tensor:
        return F.linear(torch.cat([q, x.to(q.dtype)], -1), torch.cat([self.weight_ho, self.skip], -1))

    def extra_repr(self) -> str:
        """Sizes and scheme, as `print(layer)` shows them."""
        return f"{super().extra_repr()}, scheme={self.scheme!r}"


@no_type_check  # a wrapper around it would count as something that may change: traced in every call
def oscillator_step(is_implicit: bool, state: Tensors, inputs: Tensors, params: Tensors) -> Tensors:
    """Compute a step of the oscillators, for a timespan of 1 if ``inputs`` has no second item."""
    (p, q), (force, *spans), (stiffness, step) = state, inputs, params
    if spans:
        step = step * spans[0]
    p = p + step * (force - stiffness * q)
    if is_implicit:
        p = p / (1 + step.square() * stiffness)
    return p, q + step * p
