"""Layers of neurons whose activations persist."""

import math
from collections.abc import Callable
from functools import partial
from typing import Literal, TypeAlias, no_type_check

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from remanence.errors import UserError
from remanence.nn.memory import Memory
from remanence.nn.pointwise_form import PointwiseForm
from remanence.nn.structure import Device
from remanence.ops.episodes import Episodes, as_options
from remanence.ops.firing.firing_schedule import Pointwise
from remanence.ops.scan.operation import scan

NonlinearityName: TypeAlias = Literal["relu", "leaky_relu", "tanh", "sigmoid", "softplus", "identity"]
Nonlinearity: TypeAlias = NonlinearityName | Pointwise

NONLINEARITIES: dict[str, Pointwise] = {
    "relu": F.relu,
    "leaky_relu": F.leaky_relu,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "softplus": F.softplus,
    "identity": torch.clone,
}


class PersistentLinear(Memory):
    """A linear layer whose activations persist: ``n_t = f(n_{t-1} + W x_t + b)``.

    Each unit adds its drive to its previous activation. Nothing leaks; only ``f`` and inputs of the opposite sign
    reduce an activation. There is no recurrent matrix, so the whole sequence is one fused scan
    (:func:`remanence.scan`).

    Args:
        input_size: number of input channels.
        hidden_size: number of neurons.
        nonlinearity: f: ``"relu"`` (default), ``"leaky_relu"``, ``"tanh"``, ``"sigmoid"``, ``"softplus"``,
            ``"identity"``, or any pointwise function of PyTorch.
        device: device of the parameters; default: PyTorch's default.
        dtype: dtype of the parameters; default: PyTorch's default.

    Parameters:
        weight_ih [hidden_size, input_size] (W) and bias [hidden_size] (b), both initialised as in ``torch.nn.Linear``.

    State:
        n [batch, hidden_size], initially zero.

    Raises:
        ValueError: a size is not a positive integer, or the nonlinearity is unknown.

    Example:
        >>> layer = PersistentLinear(3, 8)
        >>> y, n = layer(torch.randn(2, 5, 3))
        >>> y.shape, torch.equal(y[:, -1], n)
        (torch.Size([2, 5, 8]), True)
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        nonlinearity: Nonlinearity = "relu",
        device: Device = None,
        dtype: torch.dtype | None = None,
    ):
        super().__init__(input_size, hidden_size)
        self.nonlinearity = check_nonlinearity(nonlinearity)
        self.weight_ih = nn.Parameter(torch.empty(hidden_size, input_size))
        self.bias = nn.Parameter(torch.empty(hidden_size))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Reinitialise W and b, uniformly in ±1/√input_size as in ``torch.nn.Linear``."""
        bound = 1 / math.sqrt(self.input_size)
        nn.init.uniform_(self.weight_ih, -bound, bound)
        nn.init.uniform_(self.bias, -bound, bound)

    def pointwise_form(self) -> PointwiseForm:
        """Return the step, W and b."""
        return PointwiseForm(self._step, self.weight_ih, self.bias[None])

    def _run(self, x: Tensor, state: Tensor, *, episodes: Episodes | None = None) -> tuple[Tensor, Tensor]:
        (n,), (final,) = scan(self._step, [self._drive(x)], [state], [self.bias], **as_options(episodes))
        return n, final

    def _advance(self, x_t: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        (n,) = self._step((state,), (self._drive(x_t),), (self.bias,))
        return n, n

    def _drive(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight_ih)

    @property
    def _step(self) -> Callable[..., tuple[Tensor]]:
        f = self.nonlinearity
        return partial(persistent_step, f if callable(f) else NONLINEARITIES[f])


def check_nonlinearity(nonlinearity: Nonlinearity) -> Nonlinearity:
    """Return a name in :data:`NONLINEARITIES` or a function unchanged; raise a ``ValueError`` for anything else."""
    if not callable(nonlinearity) and nonlinearity not in NONLINEARITIES:
        raise UserError(
            f"nonlinearity must be a pointwise function or one of {', '.join(NONLINEARITIES)}, got {nonlinearity!r}"
        )
    return nonlinearity


@no_type_check  # a type-checking wrapper would make scan trace the step again in every call
def persistent_step(
    f: Pointwise, state: tuple[Tensor, ...], inputs: tuple[Tensor, ...], params: tuple[Tensor, ...]
) -> tuple[Tensor]:
    """Compute ``n <- f(n + W x + b)``, given W x, in the form of :func:`remanence.scan`."""
    (n,), (drive,), (bias,) = state, inputs, params
    return (f(n + (drive + bias)),)
