"""Observability along a trajectory: which outputs depend on which part of a state."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from remanence.analysis.adapters import as_step
from remanence.analysis.controllable import CHUNK
from remanence.analysis.gramian import Gramian


class Observability(Gramian):
    """The response of the outputs to small changes of the initial state: ``response[t, k, i] = ∂y_t,k / ∂h_0,i``.

    ``gramian`` is ``W = Σ_t Φ_tᵀ C_tᵀ C_t Φ_t`` with ``Φ_t = A_{t-1} ... A_1``. ``rank`` is the number of directions of
    the state that outputs can distinguish, and ``energy`` how strongly an output channel depends on a component of the
    state. Directions along eigenvectors of large eigenvalues are easy to read.

    Attributes:
        response: [batch, time, output, size].
    """

    channel = "output"
    title = "What outputs read"

    def read(self, direction: Float[Tensor, "... size"]) -> Float[Tensor, "batch output"]:
        """Compute the energy ``Σ_t δy²`` in each output if the initial state changes by ``direction``, to first order.

        Args:
            direction: the change of the state, [size] or [batch, size].

        Returns:
            The energy, [batch, output].
        """
        moved = direction.to(self.response).expand(len(self.response), -1)
        return torch.einsum("btki,bi->btk", self.response, moved).square().sum(1)


@torch.no_grad()
def observability(
    system: Any, x: Float[Tensor, "batch time input"], h: Float[Tensor, "batch size"] | None = None
) -> Observability:
    """Compute which directions of the initial state the outputs of a trajectory can distinguish, and how well.

    The step is linearised at every point of the trajectory by automatic differentiation. For a linear time-invariant
    system, this is the finite-horizon Gramian ``Σ_k (A^k)ᵀ Cᵀ C A^k``. To use the outputs of a model's head, pass
    ``as_step(memory).read_by(head)``.

    Args:
        system: a system that :func:`as_step` accepts, preferably in float64.
        x: the input of the trajectory, [batch, time, input].
        h: the flat state before the first step, [batch, size]; default: the initial state.

    Returns:
        The response of the outputs to the initial state, its Gramian, spectrum and rank.

    Raises:
        ValueError: an argument has a wrong shape.

    References:
        Kailath, Linear Systems, 1980, section 9.2 (time-variant Gramians).

    Example:
        >>> found = observability(torch.nn.LSTM(3, 4).double(), torch.randn(1, 20, 3).double())
        >>> found.rank, found.energy.shape
        (tensor([8]), torch.Size([1, 4, 8]))
    """
    step = as_step(system)
    _, states = step.run(x, h)
    passed_on = torch.eye(step.size, dtype=x.dtype, device=x.device)  # Φ
    responses = []
    for part, before in zip(x.split(CHUNK, 1), states[:, :-1].split(CHUNK, 1), strict=True):
        linear = step.linearise(part.flatten(0, 1), before.flatten(0, 1))
        A, C = (each.unflatten(0, part.shape[:2]).unbind(1) for each in (linear.A, linear.C))
        for A_t, C_t in zip(A, C, strict=True):
            responses.append(C_t @ passed_on)
            passed_on = A_t @ passed_on
    return Observability(torch.stack(responses, 1))
