"""Controllability and observability of the linearisation at a fixed point."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from remanence.analysis.adapters import as_step
from remanence.analysis.canvas import BLUE, GREEN, ORANGE, get_axes
from remanence.analysis.stability import MARGIN
from remanence.errors import UserError
from remanence.extras import require_extra

HORIZON = 100  # minimum number of steps to sum over if the infinite sums diverge


@dataclass(frozen=True, eq=False)
class LinearControl:
    """Controllability and observability of ``δh <- A δh + B δx``, ``δy = C δh + D δx`` near a fixed point.

    Attributes:
        A, B, C, D: the linearisation, in the convention of python-control's ``StateSpace``.
        eigenvalues: eigenvalues of A, the largest modulus first.
        horizon: number of steps that the Gramians sum over; None: infinitely many.
        controllability_gramian: ``Σ_k A^k B Bᵀ (A^k)ᵀ``.
        observability_gramian: ``Σ_k (A^k)ᵀ Cᵀ C A^k``.
        controllable_rank: the dimension of the subspace that inputs can reach: the rank of ``[B, A B, A² B, ...]``,
            computed without the powers of A, whose columns soon differ by rounding only. Couplings below 4e-11 ‖A‖ (in
            float64) count as zero.
        observable_rank: the rank of ``[C; C A; C A²; ...]``, computed in the same way.
    """

    A: Float[Tensor, "size size"]
    B: Float[Tensor, "size input"]
    C: Float[Tensor, "output size"]
    D: Float[Tensor, "output input"]
    eigenvalues: Complex[Tensor, " size"]
    horizon: int | None
    controllability_gramian: Float[Tensor, "size size"]
    observability_gramian: Float[Tensor, "size size"]
    controllable_rank: int
    observable_rank: int

    @cached_property
    def controllability_spectrum(self) -> Float[Tensor, " size"]:
        """Eigenvalues of the controllability Gramian, descending."""
        return _compute_spectrum(self.controllability_gramian)

    @cached_property
    def observability_spectrum(self) -> Float[Tensor, " size"]:
        """Eigenvalues of the observability Gramian, descending."""
        return _compute_spectrum(self.observability_gramian)

    @property
    def gramian_ranks(self) -> tuple[int, int]:
        """The numerical ranks of both Gramians; lower than the ranks above if energies differ by many magnitudes."""
        found = (self.controllability_spectrum, self.observability_spectrum)
        limits = [len(each) * torch.finfo(each.dtype).eps * each[:1] for each in found]
        written, read = (int((each > limit).sum()) for each, limit in zip(found, limits, strict=True))
        return written, read

    @cached_property
    def hankel_singular_values(self) -> Float[Tensor, " size"]:
        """Square roots of the eigenvalues of the product of both Gramians, descending."""
        written, read = _compute_root(self.controllability_gramian), _compute_root(self.observability_gramian)
        return torch.linalg.svdvals(read.mT @ written)

    @property
    def state_space(self) -> Any:
        """The linearisation as a discrete-time ``StateSpace`` of python-control, for Bode plots or regulators."""
        with require_extra("analysis", "a linearisation as a state space"):
            import control

        return control.ss(*(each.cpu().numpy() for each in (self.A, self.B, self.C, self.D)), True)

    def plot(self, axes: Any = None) -> Any:
        """Plot the spectra of the Gramians, and how strongly each component of the state is written and read.

        Args:
            axes: two matplotlib axes to draw on; default: those of a new figure.

        Returns:
            The axes.
        """
        values, numbers = axes = get_axes(axes, 2)
        for found, name, colour in (
            (self.controllability_spectrum, f"controllability, rank {self.controllable_rank}", BLUE),
            (self.observability_spectrum, f"observability, rank {self.observable_rank}", ORANGE),
            (self.hankel_singular_values, "Hankel singular values", GREEN),
        ):
            shown = found.cpu()
            values.semilogy(range(1, len(shown) + 1), shown.where(shown > 0, torch.nan), ".-", color=colour, label=name)
        values.set(xlabel="direction", ylabel="eigenvalue", title="Spectra of the Gramians")
        values.legend(edgecolor="none")
        written, read = (W.diagonal().cpu() for W in (self.controllability_gramian, self.observability_gramian))
        numbers.plot(written.log10(), read.log10(), ".", color=BLUE)
        numbers.set(xlabel="$\\log_{10}$ energy written by inputs", ylabel="$\\log_{10}$ energy read by outputs")
        numbers.set(title="Numbers of the state")
        return axes


@torch.no_grad()
def linear_control(
    system: Any,
    point: Float[Tensor, " size"],
    x_t: Float[Tensor, " input"] | None = None,
    *,
    horizon: int | None = None,
) -> LinearControl:
    """Linearise a system at a fixed point and compute ranks and Gramians of controllability and observability.

    Time is discrete. If all eigenvalues of A are inside the unit circle, the Gramian W solves
    ``A W Aᵀ - W + B Bᵀ = 0`` (python-control's ``dlyap``, which uses SciPy if slycot is not installed; its ``gram``
    requires slycot). A memory that holds its state has eigenvalues on the unit circle; the infinite sums then diverge,
    and finite sums over a horizon replace them.

    Args:
        system: a system that :func:`as_step` accepts, preferably in float64.
        point: the fixed point, [size], for example from :func:`fixed_points`.
        x_t: the constant input, [input]; default: zeros.
        horizon: number of steps to sum over; default: infinitely many if the sums converge, else 100 or the size of the
            state, whichever is larger.

    Returns:
        The linearisation with its Gramians, their spectra and ranks.

    Raises:
        ValueError: an argument has a wrong shape, or the horizon is below 1 or so long that the sums overflow.

    References:
        Kailath, Linear Systems, 1980, chapters 2 and 6. Paige 1981, IEEE Trans. Automatic Control 26 (ranks).

    Example:
        >>> cell = torch.nn.RNN(1, 2).double()
        >>> found = linear_control(cell, torch.zeros(2).double())
        >>> found.controllable_rank, found.observable_rank, found.horizon
        (2, 2, None)
    """
    step = as_step(system)
    x_t = step.silence()[0] if x_t is None else x_t
    if point.shape != (step.size,) or x_t.shape != (step.input_size,):
        raise UserError(
            f"expected point [{step.size}] and x_t [{step.input_size}], got {list(point.shape)} and {list(x_t.shape)}"
        )
    if horizon is not None and horizon < 1:
        raise UserError(f"horizon must be 1 or more steps, got {horizon}")
    linear = step.linearise(x_t[None], point[None])
    A, B, C, D = (each[0] for each in (linear.A, linear.B, linear.C, linear.D))
    eigenvalues = torch.linalg.eigvals(A)
    eigenvalues = eigenvalues[eigenvalues.abs().argsort(descending=True)]
    if horizon is None and not bool(eigenvalues[0].abs() < 1 - MARGIN):
        horizon = max(HORIZON, step.size)
    gramians = [_compute_gramian(matrix, by, horizon) for matrix, by in ((A, B), (A.T, C.T))]
    ranks = _count_reachable(A, B), _count_reachable(A.T, C.T)
    return LinearControl(A, B, C, D, eigenvalues, horizon, gramians[0], gramians[1], *ranks)


def _compute_gramian(A: Tensor, B: Tensor, horizon: int | None) -> Tensor:
    """Compute ``Σ_k A^k B Bᵀ (A^k)ᵀ``."""
    if horizon is None:
        with require_extra("analysis", "a Gramian over all time"):
            from control import dlyap

        return torch.from_numpy(dlyap(A.cpu().numpy(), (B @ B.T).cpu().numpy())).to(A)
    W, passed_on = torch.zeros_like(A), B
    for _ in range(horizon):
        W = W + passed_on @ passed_on.T
        passed_on = A @ passed_on
    if not bool(W.isfinite().all()):
        raise UserError(f"the Gramian overflows over {horizon} steps: pass a smaller horizon")
    return W


def _count_reachable(A: Tensor, B: Tensor) -> int:
    """Compute the dimension of the smallest A-invariant subspace that contains B, by an orthogonal basis."""
    # Rounding errors grow along the chain, to 1e5 epsilons at 200 states. Weaker couplings, relative to ‖A‖, are zero.
    rounding = torch.finfo(A.dtype).eps ** (2 / 3)
    found, new, size = A.new_zeros(len(A), 0), B, torch.linalg.matrix_norm(B, 2) if B.numel() else 0.0
    while new.shape[1] and found.shape[1] < len(A):
        for _ in range(2):  # twice, because rounding errors remain after the first time
            new = new - found @ (found.T @ new)
        U, S, _ = torch.linalg.svd(new, full_matrices=False)
        basis = U[:, rounding * size < S]
        found, new, size = torch.cat([found, basis], 1), A @ basis, torch.linalg.matrix_norm(A, 2)
    return found.shape[1]


def _compute_spectrum(gramian: Tensor) -> Tensor:
    return torch.linalg.eigvalsh(gramian).flip(0).clamp_min(0)


def _compute_root(gramian: Tensor) -> Tensor:
    values, vectors = torch.linalg.eigh(gramian)
    return vectors * values.clamp_min(0).sqrt()
