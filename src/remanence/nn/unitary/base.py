"""Common part of networks with complex states: input weights, modReLU, a learned initial state, real outputs."""

import math
from collections.abc import Callable
from typing import TypeAlias

import torch
from jaxtyping import Complex
from torch import Tensor, nn

from remanence.nn.memory import Memory, State
from remanence.nn.structure import Device
from remanence.ops.episodes import Episodes
from remanence.ops.rotations import matrix_form, reference

Turn: TypeAlias = Callable[[Tensor], Tensor]
"""A function from states h, one in each row, to W h."""


FEW = 256
"""Up to this number of units, W as a matrix is faster than two Fourier transforms per step."""


class UnitaryMemory(Memory):
    """``h_t = modReLU(W h_{t-1} + V x_t)`` with complex h and V and a W that is unitary for all parameters.

    A subclass defines W (:meth:`_turn`) and initialises its own parameters (:meth:`reset_parameters`).
    """

    in_low_precision = False  # PyTorch has no complex dtype with bfloat16 parts

    steps_in_graph = False

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        device: Device = None,
        dtype: torch.dtype | None = None,
    ):
        super().__init__(input_size, hidden_size, 2 * hidden_size)
        self.weight_ih = nn.Parameter(torch.empty(2 * hidden_size, input_size))
        self.bias = nn.Parameter(torch.empty(hidden_size))
        self.h_0 = nn.Parameter(torch.empty(2, hidden_size))

    def reset_parameters(self) -> None:
        """Reinitialise V, b and h_0 as in Arjovsky et al., section 4.3."""
        nn.init.uniform_(self.weight_ih, *_make_range(6 / (self.input_size + self.hidden_size)))
        nn.init.zeros_(self.bias)
        nn.init.uniform_(self.h_0, *_make_range(3 / (2 * self.hidden_size)))  # E ||h_0||² = 1

    def matrix(self) -> Complex[Tensor, "hidden hidden"]:
        """Return the unitary matrix W, [hidden_size, hidden_size], complex."""
        real = torch.eye(self.hidden_size, dtype=self.bias.dtype, device=self.bias.device)
        return self._turn()(torch.complex(real, torch.zeros_like(real))).T

    def initial_state(self, batch_size: int) -> State:
        """Return the learned initial state ``h_0``, repeated for each sequence."""
        real, imaginary = self.h_0
        return real.expand(batch_size, -1).clone(), imaginary.expand(batch_size, -1).clone()

    def _turn(self) -> Turn:
        raise NotImplementedError

    def _run(self, x: Tensor, state: State, *, episodes: Episodes | None = None) -> tuple[Tensor, State]:
        before = torch.cat(state, 1).to(self.bias.dtype)
        episodes = join_reset_state(episodes)
        if torch.compiler.is_exporting() or (self.hidden_size <= FEW and x.shape[1] > 1):
            y, last = matrix_form.run(self.matrix(), x, before, self.weight_ih, self.bias, episodes=episodes)
        else:
            y, last = reference.run(self._turn(), x, before, self.weight_ih, self.bias, episodes=episodes)
        return y, split_halves(last)

    def _advance(self, x_t: Tensor, state: State) -> tuple[Tensor, State]:
        y, state = self._run(x_t[:, None], state)
        return y[:, 0], state


def join_reset_state(episodes: Episodes | None) -> Episodes | None:
    """Return episodes whose first state is one tensor [batch, parts]."""
    return episodes and episodes._replace(reset_state=(torch.cat(episodes.reset_state, 1),))


def split_halves(h: Tensor) -> tuple[Tensor, Tensor]:
    """Split [batch, real parts | imaginary parts] into copies of both."""
    real, imaginary = h.chunk(2, 1)
    return real.clone(), imaginary.clone()


def _make_range(square: float) -> tuple[float, float]:
    return -math.sqrt(square), math.sqrt(square)
