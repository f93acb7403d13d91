"""Controllability along a trajectory: which inputs can change which part of a state."""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from remanence.analysis.adapters import as_step
from remanence.analysis.gramian import Gramian
from remanence.errors import UserError

CHUNK = 64  # number of steps that are linearised at once


@dataclass(frozen=True, eq=False)
class Reach:
    """The smallest change of the input that moves the final state in a given direction.

    Attributes:
        input: the change of the input, δx.
        energy: its energy ``Σ δx²``.
        missed: the fraction of the direction's length that no input can reach; 0 if all of it can be reached.
    """

    input: Float[Tensor, "batch time input"]
    energy: Float[Tensor, " batch"]
    missed: Float[Tensor, " batch"]


class Controllability(Gramian):
    """The response of the final state to small changes of the input: ``response[t, k, i] = ∂h_T,i / ∂x_t,k``.

    ``gramian`` is ``W = Σ_t Φ_t B_t B_tᵀ Φ_tᵀ`` with ``Φ_t = A_T ... A_{t+1}``. ``rank`` is the number of directions in
    which inputs can move the state, and ``energy`` how strongly an input channel affects a component of the state. The
    state moves easily along eigenvectors of large eigenvalues.

    Attributes:
        response: [batch, time, input, size].
    """

    channel = "input"
    title = "What inputs write"

    def reach(self, direction: Float[Tensor, "... size"]) -> Reach:
        """Find the least-energy change of the input that moves the final state by ``direction``, to first order.

        Args:
            direction: the change of the state, [size] or [batch, size].

        Returns:
            The change of the input, its energy, and the part of the direction that cannot be reached.
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
    """Compute in which directions, and how strongly, the inputs of a trajectory can move the final state.

    The step is linearised at every point of the trajectory by automatic differentiation, and its Jacobians are
    multiplied from the last one backwards. For a linear time-invariant system, this is the finite-horizon Gramian
    ``Σ_k A^k B Bᵀ (A^k)ᵀ``.

    Args:
        system: a system that :func:`as_step` accepts, preferably in float64.
        x: the input of the trajectory, [batch, time, input].
        h: the flat state before the first step, [batch, size]; default: the initial state.

    Returns:
        The response of the final state to the inputs, its Gramian, spectrum and rank.

    Raises:
        ValueError: an argument has a wrong shape, or the system has no input.

    References:
        Kailath, Linear Systems, 1980, section 9.2 (time-variant Gramians).

    Example:
        >>> found = controllability(torch.nn.LSTM(3, 4).double(), torch.randn(1, 20, 3).double())
        >>> found.rank, found.energy.shape  # h and c
        (tensor([8]), torch.Size([1, 3, 8]))
    """
    step = as_step(system)
    if step.input_size == 0:
        raise UserError("a system without input cannot be controlled: pass as_step an input_size above 0")
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
