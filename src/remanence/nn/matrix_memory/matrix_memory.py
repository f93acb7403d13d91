"""What memories with a matrix for each head have in common: how the input becomes queries, keys, values and gates."""

from collections.abc import Callable
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from remanence.checks import positive_integer
from remanence.errors import UserError
from remanence.nn.matrix_memory.short_convolution import ShortConvolution
from remanence.nn.memory import Memory, State
from remanence.ops import autocast
from remanence.ops.episodes import Episodes, find_real, mask_padding

MOST_HEADS, LEAST_VALUE = 4, 16
"""The largest default number of heads, and the smallest size of a value that they may have."""


EPS = 1e-6
"""Added to the square of the length of a key: the gradient at a key of 0 stays finite."""


class Drive(NamedTuple):
    """What the layer computes from the input before the matrix is updated.

    Attributes:
        q: queries, [batch, time, heads, key].
        k: keys, [batch, time, writes, heads, key].
        v: values, [batch, time, writes, heads, value].
        beta: drives of β, the strength of writing, [batch, time, writes, heads]; ``heads`` is 0 if there is no β.
        log_decay: log α, [batch, time, heads]; None if nothing decays.
        gate: drives of the output gate, [batch, time, heads, value]; None if there is no gate.
    """

    q: Tensor
    k: Tensor
    v: Tensor
    beta: Tensor
    log_decay: Tensor | None
    gate: Tensor | None


class MatrixMemory(Memory):
    """A memory whose state is a matrix for each head, and the window of a short convolution.

    A subclass says how the matrix changes and is read (:meth:`_recur`).
    """

    key_ratio: ClassVar[int] = 1
    """The default size of a key as a multiple of the size of a value."""

    in_low_precision = False  # nothing solves triangular systems in 16 bits, and errors of sums over time grow

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        num_heads: int | None,
        key_size: int | None,
        conv_size: int | None,
        writes: int = 1,
        corrects: bool = True,
        convolves_values: bool = True,
        decay_gate: Callable[[int], nn.Module] | None,
        output_gate: bool,
    ):
        super().__init__(input_size, hidden_size)
        self.num_heads = _choose_heads(self.hidden_size, num_heads)
        self.value_size = self.hidden_size // self.num_heads
        self.key_size = positive_integer("key_size", self.key_ratio * self.value_size if key_size is None else key_size)
        self.writes = positive_integer("num_householder", writes)
        per_head = [self.key_size, self.writes * self.key_size, self.writes * self.value_size]
        self._mixed_sizes = [self.num_heads * size for size in per_head]
        gates = [self.writes * corrects, int(decay_gate is not None), self.value_size * output_gate]
        self._sizes = [sum(self._mixed_sizes), *(self.num_heads * size for size in gates)]
        self.projection = nn.Linear(input_size, sum(self._sizes), bias=False)
        self._convolved = sum(self._mixed_sizes if convolves_values else self._mixed_sizes[:2])
        self.convolution = None if conv_size is None else _make_convolution(self._convolved, conv_size)
        self.decay_gate = None if decay_gate is None else decay_gate(self.num_heads)

    def reset_parameters(self) -> None:
        """Draw the parameters of the input projection, the convolution and the decay gate anew."""
        for part in (self.projection, self.convolution, self.decay_gate):
            if part is not None:
                part.reset_parameters()  # type: ignore[operator]

    def initial_state(self, batch_size: int) -> State:
        """Return S as it is before the first step, and zeros for the window of the convolution if there is one."""
        S = self._initial_matrix(batch_size)
        if self.convolution is None:
            return S
        return S, self._zeros(batch_size, self.convolution.size - 1, self._convolved)

    def _initial_matrix(self, batch_size: int) -> Tensor:
        return self._zeros(batch_size, *self._matrix_shape())

    def _matrix_shape(self) -> tuple[int, int, int]:
        return self.num_heads, self.value_size, self.key_size

    def _run(self, x: Tensor, state: State, *, episodes: Episodes | None = None) -> tuple[Tensor, State]:
        dtype = self.projection.weight.dtype  # under autocast, products have another dtype
        S, *windows = (state,) if self.convolution is None else state
        projected = self.projection(x).to(dtype)
        with autocast.disable(x.device):
            mixed, beta, decay, gate = projected.split(self._sizes, -1)
            if self.convolution is not None:
                mixed, windows[0] = self._convolve(mixed, windows[0].to(dtype), episodes)
            q, k, v = mixed.split(self._mixed_sizes, -1)
            drive = Drive(
                q.unflatten(-1, (self.num_heads, self.key_size)),
                k.unflatten(-1, (self.writes, self.num_heads, self.key_size)),
                v.unflatten(-1, (self.writes, self.num_heads, self.value_size)),
                beta.unflatten(-1, (self.writes, -1)),
                None if self.decay_gate is None else self.decay_gate(decay),
                gate.unflatten(-1, (self.num_heads, self.value_size)) if self._sizes[-1] else None,
            )
            y, S = self._recur(drive, S.to(dtype), episodes)
        return y, (S, *windows) if windows else S

    def _convolve(self, mixed: Tensor, window: Tensor, episodes: Episodes | None) -> tuple[Tensor, Tensor]:
        others = mixed[..., self._convolved :]
        seen, window = self.convolution(mixed[..., : self._convolved], window, episodes)  # type: ignore[misc]
        return torch.cat((seen, others), -1) if others.shape[-1] else seen, window

    def _advance(self, x_t: Tensor, state: State) -> tuple[Tensor, State]:
        y, after = self._run(x_t[:, None], state)
        return y[:, 0], after

    def _recur(self, drive: Drive, S: Tensor, episodes: Episodes | None) -> tuple[Tensor, Tensor]:
        """Return the output [batch, time, hidden_size] and S after the last real step."""
        raise NotImplementedError

    def extra_repr(self) -> str:
        """Return the sizes and the number of heads, which ``print(layer)`` shows."""
        return f"{super().extra_repr()}, num_heads={self.num_heads}, key_size={self.key_size}"


def normalize(x: Tensor) -> Tensor:
    """Scale x [..., channels] to length 1."""
    return x * torch.rsqrt(x.square().sum(-1, keepdim=True) + EPS)


def apply_gate(y: Tensor, gate: Tensor | None) -> Tensor:
    """Gate y [batch, time, heads, value] if there is a gate, and join the heads."""
    return (y if gate is None else y * F.silu(gate)).flatten(2)


def apply_episodes(
    episodes: Episodes | None, beta: Tensor, log_decay: Tensor | None
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """Change β, log α and the resets so that nothing is written, decays or is reset after the last real step.

    Args:
        episodes: where samples are reset and end; None: nowhere.
        beta: β, [batch, time, ...].
        log_decay: log α, [batch, time, heads]; None if nothing decays.

    Returns:
        β, log α, and where samples are reset, [batch, time], or None.
    """
    if episodes is None or episodes.lengths is None:
        return beta, log_decay, None if episodes is None else episodes.reset
    batch, time = episodes.reset.shape
    real = find_real(episodes.lengths, batch, time, beta.device)
    beta = mask_padding(real, beta)
    return beta, None if log_decay is None else mask_padding(real, log_decay), episodes.reset & real


def _choose_heads(hidden_size: int, num_heads: int | None) -> int:
    if num_heads is None:
        most = max(1, min(MOST_HEADS, hidden_size // LEAST_VALUE))
        return next(heads for heads in range(most, 0, -1) if hidden_size % heads == 0)
    if hidden_size % positive_integer("num_heads", num_heads):
        raise UserError(f"num_heads must divide hidden_size {hidden_size}, got {num_heads}")
    return num_heads


def _make_convolution(channels: int, size: int) -> ShortConvolution:
    if positive_integer("conv_size", size) < 2:
        raise UserError(f"conv_size must be at least 2, or None for no convolution, got {size}")
    return ShortConvolution(channels, size)
