"""Controllability along a trajectory: which inputs can write which part of a memory."""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from remanence.analysis.adapters import as_step
from remanence.analysis.gramian import Gramian
from remanence.errors import UserError

CHUNK = 64  # steps that are linearised at once


@dataclass(frozen=True, eq=False)
class Reach:
    """The smallest change of the input that moves the last state into a direction.

    Attributes:
        input: what to add to the input.
        energy: ``Σ δx²`` of it.
        missed: the share of the direction's length that no input reaches; 0: all of it is reached.
    """

    input: Float[Tensor, "batch time input"]
    energy: Float[Tensor, " batch"]
    missed: Float[Tensor, " batch"]


class Controllability(Gramian):
    """What small changes of the input do to the last state: ``response[t, k, i] = ∂h_T,i / ∂x_t,k``.

    ``gramian`` is ``W = Σ_t Φ_t B_t B_tᵀ Φ_tᵀ`` with ``Φ_t = A_T ... A_{t+1}``. ``rank`` is how many directions of the
    state the inputs can move, ``energy`` how much a channel writes into a number of the state. The eigenvector of a
    large eigenvalue is a direction that little input reaches.
    """

    channel = "input"
    title = "What inputs write"

    def reach(self, direction: Float[Tensor, "... size"]) -> Reach:
        """Find the least-energy change of the input that moves the last state by ``direction``, to first order.

        Args:
            direction: one for all rows of the batch, or one for each.
        """
        M = self.matrix
        wanted = direction.to(M).expand(len(M), -1)
        U, S, Vh = torch.linalg.svd(M, full_matrices=False)
        along = (Vh @ wanted[..., None])[..., 0]
        inverse = torch.where(self.tolerance.sqrt()[:, None] < S, 1 / S, 0)
        change = (U @ (inverse * along)[..., None])[..., 0]
        left = wanted - (M.mT @ change[..., None])[..., 0]
        return Reach(
            change.unflatten(1, self.response.shape[1:3]), change.square().sum(1), left.norm(dim=1) / wanted.norm(dim=1)
        )


@torch.no_grad()
def controllability(
    system: Any, x: Float[Tensor, "batch time input"], h: Float[Tensor, "batch size"] | None = None
) -> Controllability:
    """Compute which directions of the last state the inputs of a trajectory can move, and how strongly.

    The step is linearised at every point of the trajectory, by automatic differentiation, and the products of its
    Jacobians are taken from the end. Where the system is linear and does not change this is the finite-horizon Gramian
    ``Σ_k A^k B Bᵀ (A^k)ᵀ``.

    Args:
        system: what :func:`as_step` takes, best in float64.
        x: the input that drives the trajectory.
        h: the flat state to start in; default: the initial one.

    Returns:
        The response of the last state to the inputs, its Gramian, spectrum and rank.

    Raises:
        ValueError: a wrong shape, or a system without input.

    References:
        Kailath, Linear Systems, 1980, section 9.2 (time-variant Gramians).

    Example:
        >>> found = controllability(torch.nn.LSTM(3, 4).double(), torch.randn(1, 20, 3).double())
        >>> found.rank, found.energy.shape  # h and c
        (tensor([8]), torch.Size([1, 3, 8]))
    """
    step = as_step(system)
    if step.input_size == 0:
        raise UserError("a system without input cannot be controlled: give as_step an input_size above 0")
    _, states = step.run(x, h)
    passed_on = torch.eye(step.size, dtype=x.dtype, device=x.device)  # Φ
    responses = []
    for part, before in zip(x.split(CHUNK, 1)[::-1], states[:, :-1].split(CHUNK, 1)[::-1], strict=True):
        linear = step.linearise(part.flatten(0, 1), before.flatten(0, 1))
        A, B = (each.unflatten(0, part.shape[:2]).unbind(1) for each in (linear.A, linear.B))
        for A_t, B_t in zip(A[::-1], B[::-1], strict=True):
            responses.append((passed_on @ B_t).mT)
            passed_on = passed_on @ A_t
    return Controllability(torch.stack(responses[::-1], 1))
