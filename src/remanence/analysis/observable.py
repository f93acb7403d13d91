"""Observability along a trajectory: which outputs can read which part of a memory."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from remanence.analysis.adapters import as_step
from remanence.analysis.controllable import CHUNK
from remanence.analysis.gramian import Gramian


class Observability(Gramian):
    """What small changes of the first state do to the outputs: ``response[t, k, i] = ∂y_t,k / ∂h_0,i``.

    ``gramian`` is ``W = Σ_t Φ_tᵀ C_tᵀ C_t Φ_t`` with ``Φ_t = A_{t-1} ... A_1``. ``rank`` is how many directions of the
    state can be told from the outputs, ``energy`` how much of a number of the state an output channel shows. The
    eigenvector of a large eigenvalue is a direction that is easy to read.
    """

    channel = "output"
    title = "What outputs read"

    def read(self, direction: Float[Tensor, "... size"]) -> Float[Tensor, "batch output"]:
        """Compute the energy ``Σ_t δy²`` in each output for a small ``direction`` of the first state, to first order.

        Args:
            direction: one for all rows of the batch, or one for each.
        """
        moved = direction.to(self.response).expand(len(self.response), -1)
        return torch.einsum("btki,bi->btk", self.response, moved).square().sum(1)


@torch.no_grad()
def observability(
    system: Any, x: Float[Tensor, "batch time input"], h: Float[Tensor, "batch size"] | None = None
) -> Observability:
    """Compute which directions of the first state the outputs of a trajectory can distinguish, and how well.

    The step is linearised at every point of the trajectory, by automatic differentiation. Where the system is linear
    and does not change this is the finite-horizon Gramian ``Σ_k (A^k)ᵀ Cᵀ C A^k``. The outputs of a model behind its
    memory: ``as_step(memory).read_by(head)``.

    Args:
        system: what :func:`as_step` takes, best in float64.
        x: the input that drives the trajectory.
        h: the flat state to start in, the one that is read; default: the initial one.

    Returns:
        The response of the outputs to the first state, its Gramian, spectrum and rank.

    Raises:
        ValueError: a wrong shape.

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
