"""Roots of F(h) - h from many starts at once."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

DAMPING = 1e-2, 1e-12, 1e12  # initial value, minimum, maximum
SHRINK, GROW = 0.2, 5.0
GOOD = 0.5  # a step that reduces the speed by this factor is taken without comparison
REACHED = 1e-4  # a row whose speed is below this fraction of the tolerance is finished


def search(
    step: Callable[[Tensor], Tensor], jacobian: Callable[[Tensor], Tensor], h: Tensor, iterations: int, tolerance: float
) -> tuple[Tensor, Tensor]:
    """Search for a fixed point from every row.

    Each row takes Newton steps, reusing a Jacobian as long as that at least halves its speed ``‖F(h) - h‖``. If a
    Newton step with a new Jacobian does not halve the speed, the row takes the better of that and a damped step that
    descends the squared speed (Levenberg and Marquardt); if both increase the speed, it stays and increases the
    damping. A row whose speed is below the tolerance is finished when a step no longer halves it, because only rounding
    is left.

    Returns:
        The final state of every row, and its speed ``‖F(h) - h‖``.
    """
    return _Search(step, jacobian, h.clone(), tolerance).run(iterations)


class _Search:
    def __init__(
        self, step: Callable[[Tensor], Tensor], jacobian: Callable[[Tensor], Tensor], h: Tensor, tolerance: float
    ):
        self.step, self.jacobian, self.tolerance = step, jacobian, tolerance
        self.h = h
        self.residual = step(h) - h
        self.norm = _compute_norm(self.residual)
        self.damping = torch.full_like(self.norm, DAMPING[0])
        self.settled = torch.zeros_like(self.norm, dtype=torch.bool)
        self.factors: tuple[Tensor, Tensor] | None = None  # LU factors of J - I, at each row's last Jacobian
        self.factored = torch.zeros_like(self.settled)

    def run(self, iterations: int) -> tuple[Tensor, Tensor]:
        for _ in range(iterations):
            open_ = (self.norm > REACHED * self.tolerance) & self.norm.isfinite() & (self.damping < DAMPING[2])
            rows = torch.nonzero(open_ & ~self.settled)[:, 0]
            if not len(rows):
                break
            before = self.norm[rows]
            fresh = rows[~self._try_chord(rows)]
            if len(fresh):
                self._try_newton(fresh)
            halved = self.norm[rows] < GOOD * before
            self.settled[rows] = (self.norm[rows] < self.tolerance) & ~halved
        return self.h, self.norm

    def _try_chord(self, rows: Tensor) -> Tensor:
        """Try a Newton step with an earlier Jacobian; return the rows for which it reduced the speed enough."""
        served = torch.zeros_like(rows, dtype=torch.bool)
        place = torch.nonzero(self.factored[rows])[:, 0]
        if len(place) and self.factors is not None:
            known = rows[place]
            with _use_one_thread():
                moved = torch.linalg.lu_solve(*(each[known] for each in self.factors), -self.residual[known, :, None])
            served[place] = self._take(known, self.h[known] + moved[..., 0], GOOD * self.norm[known])
        return served

    def _try_newton(self, rows: Tensor) -> None:
        A, b = self.jacobian(self.h[rows]), -self.residual[rows, :, None]
        A.diagonal(dim1=-2, dim2=-1).sub_(1)
        with _use_one_thread():
            LU, pivots, _ = torch.linalg.lu_factor_ex(A)  # the step of a singular matrix is not finite
            newton = torch.linalg.lu_solve(LU, pivots, b)[..., 0]
        if self.factors is None:
            size, count = self.h.shape[1], len(self.h)
            self.factors = LU.new_zeros(count, size, size), pivots.new_ones(count, size)
        for kept, new in zip(self.factors, (LU, pivots), strict=True):
            kept[rows] = new
        self.factored[rows] = newton.isfinite().all(-1)
        good = self._take(rows, self.h[rows] + newton, GOOD * self.norm[rows])
        self._damp(rows[good], SHRINK)
        if not bool(good.all()):
            self._descend(rows[~good], A[~good], b[~good], newton[~good])

    def _descend(self, rows: Tensor, A: Tensor, b: Tensor, newton: Tensor) -> None:
        """Take the better of Newton's step and a damped one, if it reduces the speed."""
        normal = A.mT @ A
        normal.diagonal(dim1=-2, dim2=-1).add_(self.damping[rows, None])
        with _use_one_thread():
            damped = torch.linalg.solve_ex(normal, A.mT @ b)[0][..., 0]
        candidates = torch.stack([self.h[rows] + newton, self.h[rows] + damped])
        after = self.step(candidates.flatten(0, 1)).view_as(candidates) - candidates
        which = _compute_norm(after).argmin(0)
        better = self._take(rows, candidates[which, torch.arange(len(rows), device=which.device)], self.norm[rows])
        self._damp(rows[better], SHRINK)
        self._damp(rows[~better], GROW)

    def _take(self, rows: Tensor, candidates: Tensor, below: Tensor) -> Tensor:
        """Move the rows to those candidates whose speed is less than ``below``; return which ones moved."""
        residual = self.step(candidates) - candidates
        norm = _compute_norm(residual)
        taken = norm < below
        index = rows[taken]
        self.h[index], self.residual[index], self.norm[index] = candidates[taken], residual[taken], norm[taken]
        return taken

    def _damp(self, rows: Tensor, factor: float) -> None:
        self.damping[rows] = (self.damping[rows] * factor).clamp(*DAMPING[1:])


@contextmanager
def _use_one_thread() -> Iterator[None]:
    # With several threads, MKL's LU decomposition of a batch of matrices larger than 128 never returns, and that of
    # single matrices competes with spinning threads of autograd, which takes a hundred times longer.
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _compute_norm(residual: Tensor) -> Tensor:
    return residual.norm(dim=-1).nan_to_num(torch.inf)
