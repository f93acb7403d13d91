"""A real-valued network with an orthogonal recurrent matrix."""

import math
from typing import Any, Literal, no_type_check

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils import parametrize

from remanence._kernels.addressing import is_transformed
from remanence.errors import UserError
from remanence.nn.elman import STEPS
from remanence.nn.memory import Memory, State
from remanence.nn.structure import Device
from remanence.ops.episodes import Episodes
from remanence.ops.recurrence import is_faster, run_step
from remanence.ops.scan.layout import Tensors

SHORTEST = 32


class OrthogonalRNN(Memory):
    """Orthogonal RNN: ``h_t = f(Q h_{t-1} + W_ih x_t + b)`` with ``Qᵀ Q = I``.

    Q is the exponential of a skew-symmetric matrix (expRNN), which can be any rotation but no reflection. It is
    computed in float64 and then rounded; the error of ``torch.linalg.matrix_exp`` in float32 can be 100 times larger.

    Args:
        input_size: number of input channels.
        hidden_size: number of units.
        nonlinearity: f: ``"modrelu"`` (default), for real numbers sign(z) ReLU(|z| + b), which preserves the norm while
            b is 0; ``"tanh"`` or ``"relu"``.
        device: device of the parameters; default: PyTorch's default.
        dtype: dtype of the parameters; default: PyTorch's default.

    Parameters:
        weight_ih [hidden_size, input_size] (W_ih), bias [hidden_size] (b), and recurrence, a module whose ``weight`` is
        Q, parametrized by the entries below the diagonal of the skew-symmetric matrix.

    State:
        h [batch, hidden_size], initially zero.

    Raises:
        ValueError: a size is not a positive integer, or the nonlinearity is unknown.

    References:
        Henaff, Szlam, LeCun, "Recurrent orthogonal networks and long-memory tasks", 2016, arXiv:1602.06662.
        Lezcano-Casado, Martínez-Rubio, "Cheap orthogonal constraints in neural networks", 2019, arXiv:1901.08428.

    Example:
        >>> layer = OrthogonalRNN(3, 8)
        >>> y, h = layer(torch.randn(2, 5, 3))
        >>> Q = layer.matrix()
        >>> y.shape, torch.allclose(Q @ Q.T, torch.eye(8), atol=1e-5)
        (torch.Size([2, 5, 8]), True)
    """

    in_low_precision = False  # PyTorch has no matrix exponential in 16 bits, nor would Q be orthogonal

    steps_in_graph = False

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        nonlinearity: Literal["modrelu", "tanh", "relu"] = "modrelu",
        device: Device = None,
        dtype: torch.dtype | None = None,
    ):
        super().__init__(input_size, hidden_size)
        if nonlinearity not in ("modrelu", "tanh", "relu"):
            raise UserError(f"nonlinearity must be 'modrelu', 'tanh' or 'relu', got {nonlinearity!r}")
        self.nonlinearity = nonlinearity
        self.weight_ih = nn.Parameter(torch.empty(hidden_size, input_size))
        self.bias = nn.Parameter(torch.empty(hidden_size))
        self.recurrence = _build_recurrence(hidden_size)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Reinitialise Q as rotations of adjacent pairs by angles in ±π (Henaff et al.), W_ih Glorot-uniform, b = 0."""
        nn.init.xavier_uniform_(self.weight_ih)
        nn.init.zeros_(self.bias)
        below_diagonal = self.recurrence.parametrizations.weight.original
        nn.init.zeros_(below_diagonal)
        nn.init.uniform_(below_diagonal.diagonal(-1)[::2], -math.pi, math.pi)

    def matrix(self) -> Float[Tensor, "hidden hidden"]:
        """Return the orthogonal matrix Q, [hidden_size, hidden_size]."""
        return self.recurrence.weight

    def _run(self, x: Tensor, state: State, *, episodes: Episodes | None = None) -> tuple[Tensor, State]:
        Q = self.matrix()
        is_step = self.nonlinearity == "modrelu" or bool(episodes) or is_transformed()
        if is_step or is_faster(x, state, Q, self.bias, shortest=SHORTEST):
            if self.nonlinearity == "modrelu":
                drive, step, params = nn.functional.linear(x, self.weight_ih), modrelu_step, [Q, self.bias]
            else:
                drive, step, params = nn.functional.linear(x, self.weight_ih, self.bias), STEPS[self.nonlinearity], [Q]
            (y,), (h,) = run_step(step, [drive], [state], params, shortest=SHORTEST, episodes=episodes)
            return y, h
        fused = torch.rnn_tanh if self.nonlinearity == "tanh" else torch.rnn_relu
        weights = [self.weight_ih, Q, self.bias, torch.zeros_like(self.bias)]
        y, h = fused(x, state[None], weights, True, 1, 0.0, self.training, False, True)
        return y, h[0]

    def _advance(self, x_t: Tensor, state: State) -> tuple[Tensor, State]:
        y, state = self._run(x_t[:, None], state)
        return y[:, 0], state

    def __getstate__(self) -> dict[str, Any]:
        """Replace the parametrized module, which cannot be pickled, with its ``state_dict``."""
        modules = {name: module for name, module in self._modules.items() if name != "recurrence"}
        return {**self.__dict__, "_modules": modules, "recurrence": self.recurrence.state_dict(keep_vars=True)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        held = state.pop("recurrence")
        super().__setstate__(state)
        self.recurrence = _build_recurrence(self.hidden_size)
        self.recurrence.load_state_dict(held, assign=True)


@no_type_check  # a type-checking wrapper would make scan trace the step again in every call
def modrelu_step(state: Tensors, inputs: Tensors, params: Tensors) -> Tensors:
    """Compute h <- sign(z) ReLU(|z| + b) with z = Q h + W_ih x, given W_ih x."""
    (h,), (drive,), (Q, bias) = state, inputs, params
    z = drive + nn.functional.linear(h, Q)
    return (z.sign() * torch.relu(z.abs() + bias),)


class _Rotation(nn.Module):
    """Maps a square matrix to a rotation: the exponential of its strictly lower part minus the transpose of that."""

    def forward(self, original: Tensor) -> Tensor:
        A = original.tril(-1).double()
        return torch.linalg.matrix_exp(A - A.mT).to(original.dtype)


def _build_recurrence(size: int) -> Any:
    """Build a module whose ``weight`` is orthogonal."""
    linear = nn.Linear(size, size, bias=False)
    parametrize.register_parametrization(linear, "weight", _Rotation())
    return linear
