"""Roots of F(h) - h from many starts at once."""

from collections.abc import Callable

import torch
from torch import Tensor

DAMPING = 1e-2, 1e-12, 1e12  # at first, least, most
SHRINK, GROW = 0.2, 5.0
BATCHED = 100  # the largest side of matrices that are solved at once


def search(
    step: Callable[[Tensor], Tensor], jacobian: Callable[[Tensor], Tensor], h: Tensor, iterations: int, tolerance: float
) -> tuple[Tensor, Tensor]:
    """Go from every row to where it does not move.

    Of Newton's step and a damped step down the speed ``½ ‖F(h) - h‖²`` (Levenberg and Marquardt) each row takes the one
    that ends slower; where both are faster than before it stays and damps more.

    Returns:
        Where the rows ended, and ``‖F(h) - h‖`` there.
    """
    h = h.clone()
    residual = step(h) - h
    norm = _norm(residual)
    damping = torch.full_like(norm, DAMPING[0])
    for _ in range(iterations):
        # A row below the tolerance still goes on while that helps: Newton ends far below it.
        rows = torch.nonzero((norm > 1e-4 * tolerance) & norm.isfinite() & (damping < DAMPING[2]))[:, 0]
        if not len(rows):
            break
        at, moves = h[rows], residual[rows]
        candidates = torch.stack([at + change for change in _changes(jacobian(at), moves, damping[rows])])
        after = step(candidates.flatten(0, 1)).view_as(candidates) - candidates
        speeds, which = _norm(after).min(0)
        better = speeds < norm[rows]
        index, taken = rows[better], (which[better], torch.nonzero(better)[:, 0])
        h[index], residual[index], norm[index] = candidates[taken], after[taken], speeds[better]
        damping[rows] = (damping[rows] * torch.where(better, SHRINK, GROW)).clamp(*DAMPING[1:])
    return h, norm


def _norm(residual: Tensor) -> Tensor:
    return residual.norm(dim=-1).nan_to_num(torch.inf)


def _changes(jacobian: Tensor, residual: Tensor, damping: Tensor) -> tuple[Tensor, Tensor]:
    """Newton's step and the damped one; where a matrix is singular, not finite."""
    identity = torch.eye(jacobian.shape[-1], dtype=jacobian.dtype, device=jacobian.device)
    A, b = jacobian - identity, -residual[..., None]
    newton = _solved(A, b)
    damped = _solved(A.mT @ A + damping[:, None, None] * identity, A.mT @ b)
    return newton[..., 0], damped[..., 0]


def _solved(A: Tensor, b: Tensor) -> Tensor:
    if len(A[0]) <= BATCHED:
        return torch.linalg.solve_ex(A, b)[0]
    # One by one: with several threads, MKL's LU decomposition of a batch of matrices above 128 never comes to an end.
    return torch.stack([torch.linalg.solve_ex(*pair)[0] for pair in zip(A, b, strict=True)])
