"""The joint system (h, A) of fast weights: its spectrum, and whether the inner loop contracts."""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Complex, Float
from torch import Tensor, nn

from remanence.analysis.canvas import BLUE, GREEN, GREY, ORANGE, get_axes
from remanence.analysis.fast_weights.jacobian import compute_deviation, compute_eigenvalues
from remanence.analysis.fast_weights.path import Path, trace_path
from remanence.nn.fast_weights import FastWeights


@dataclass(frozen=True, eq=False)
class FastWeightsDynamics:
    """Spectrum and contraction along a trajectory; :func:`fast_weights_dynamics` derives the inequalities.

    Attributes:
        eigenvalues: eigenvalues of the Jacobian of (h, A), the largest modulus first, [batch, time, 2 hidden]; its
            other N² - N eigenvalues are λ.
        decay: λ.
        contraction: the largest measured ratio of consecutive inner steps, ‖h^{s+1} - h^s‖ / ‖h^s - h^{s-1}‖, with
            h^{-1} = 0, [batch, time].
        lipschitz: ρ_t = L ‖A_{t-1}‖, an upper bound of ``contraction``, [batch, time].
        norm_bound: L η Σ_τ λ^{t-1-τ} ‖h_τ‖², an upper bound of ρ_t, [batch, time].
        ceiling: L η max ‖h‖² / (1 - λ), an upper bound of ``norm_bound`` at all steps; infinite for λ ≥ 1.
        remaining: ‖h^S - h*‖, the distance from the layer's output to the fixed point of the inner loop, [batch, time];
            NaN if the fixed point was not reached.
        remaining_bound: ρ^S / (1 - ρ) ‖h¹ - h⁰‖, an upper bound of ``remaining``; infinite if ρ_t ≥ 1.
    """

    eigenvalues: Complex[Tensor, "batch time values"]
    decay: float
    contraction: Float[Tensor, "batch time"]
    lipschitz: Float[Tensor, "batch time"]
    norm_bound: Float[Tensor, "batch time"]
    ceiling: Float[Tensor, " batch"]
    remaining: Float[Tensor, "batch time"]
    remaining_bound: Float[Tensor, "batch time"]

    @property
    def contracts(self) -> Bool[Tensor, "batch time"]:
        """Whether ρ_t < 1, so that the inner loop is guaranteed to converge, [batch, time]."""
        return self.lipschitz < 1

    @property
    def settles(self) -> Bool[Tensor, "batch time"]:
        """Whether the inner loop was observed to reach a fixed point, [batch, time]."""
        return self.remaining.isfinite()

    @property
    def spectral_radius(self) -> Float[Tensor, "batch time"]:
        """The largest modulus of an eigenvalue of the joint system, λ included, [batch, time]."""
        largest = self.eigenvalues[..., 0].abs()
        return largest.clamp_min(self.decay) if self.eigenvalues.shape[-1] > 2 else largest

    def plot(self, axes: Any = None) -> Any:
        """Plot the measured contraction with its bounds over time (medians over the batch), and the eigenvalues.

        Args:
            axes: two matplotlib axes to draw on; default: those of a new figure.

        Returns:
            The axes.
        """
        time, plane = axes = get_axes(axes, 2)
        for values, name, colour, style in (
            (self.norm_bound, r"$L\,\eta\sum\lambda^{t-1-\tau}\|h_\tau\|^2$", ORANGE, "-."),
            (self.lipschitz, r"$\rho=L\,\|A\|$", GREEN, "--"),
            (self.contraction, "measured", BLUE, "-"),
        ):
            median = values.double().median(0).values.cpu()
            time.semilogy(median.where(median > 0, torch.nan), style, color=colour, label=name)
        time.axhline(1, color=GREY, linewidth=1)
        settled = 100 * float(self.settles.double().mean())
        time.set(xlabel="time step t", ylabel="factor", title=f"Inner loop: {settled:.0f}% settle")
        time.legend(edgecolor="none")
        found, turn = self.eigenvalues.flatten().cpu(), torch.linspace(0, 2 * torch.pi, 200)
        plane.plot(turn.cos(), turn.sin(), color=GREY, linewidth=1)
        plane.plot(found.real, found.imag, ".", color=BLUE, markersize=3, alpha=0.4)
        plane.plot([self.decay], [0], "x", color=ORANGE, label=r"$\lambda$, $N^2-N$ times")
        plane.set(xlabel="real part", ylabel="imaginary part", title="Eigenvalues of the system (h, A)")
        plane.set_aspect("equal", "datalim")
        plane.legend(edgecolor="none")
        return axes


@torch.no_grad()
def fast_weights_dynamics(
    layer: FastWeights, x: Float[Tensor, "batch time input"], *, iterations: int = 100
) -> FastWeightsDynamics:
    """Analyse hidden state and fast weights as one system, and whether the inner loop contracts.

    Within a time step, the inner loop iterates ``T(v) = f(LN(W h + C x + b + A v))`` from ``h⁰ = T(0)``. ReLU and tanh
    are 1-Lipschitz. LN divides by a standard deviation: for two inputs with standard deviations σ and σ',
    ``‖LN z - LN z'‖ ≤ max|gain| ‖z - z'‖ / √(σ σ')``, because the distance of two unit vectors is at most that of the
    vectors, divided by the root of the product of their lengths (ε counts as one more coordinate). Therefore each inner
    step is at most ρ times the previous one::

        ‖h^{s+1} - h^s‖ ≤ ρ ‖h^s - h^{s-1}‖,   ρ = L ‖A‖,   L = 1 without layer norm, max|gain| / min_s σ_s with it

    with σ_s as measured in the loop. By the triangle inequality for ``A_t = η Σ_τ λ^{t-τ} h_τ h_τᵀ``::

        ‖A_t‖ ≤ η Σ_τ λ^{t-τ} ‖h_τ‖² ≤ η max ‖h‖² / (1 - λ)

    The inner loop contracts if ``L η max‖h‖² < 1 - λ``. If ρ < 1, the remaining steps are bounded by a geometric
    series: a fixed point h* exists, and after S inner steps ``‖h^S - h*‖ ≤ ρ^S / (1 - ρ) ‖h¹ - h⁰‖``. All bounds are
    attained if the same h was written at every step (the last bound, in the limit of many steps) and the loop moves
    along it. Without layer norm, T contracts everywhere; with it, only where the loop was measured.

    Args:
        layer: a :class:`remanence.nn.FastWeights`, run from its initial state; use ``layer.double()`` to measure small
            differences.
        x: the input, [batch, time, input].
        iterations: number of inner steps in the search for the fixed point; default: 100. The trajectory is always that
            of the layer's own S.

    Returns:
        Eigenvalues, measured contraction and its bounds along the trajectory.

    Raises:
        ValueError: the layer is of another type, the input has a wrong shape, or ``iterations`` is below the layer's S.

    References:
        Ba et al. 2016, arXiv:1610.06258, sections 2 to 4. Banach's fixed point theorem, with its a priori estimate.

    Example:
        >>> from remanence.nn import FastWeights
        >>> found = fast_weights_dynamics(FastWeights(3, 8).double(), torch.randn(2, 5, 3).double())
        >>> found.eigenvalues.shape, bool((found.contraction <= found.lipschitz * 1.0001).all())
        (torch.Size([2, 5, 16]), True)
    """
    path = trace_path(layer, x, max(iterations, layer.inner_steps + 1) if isinstance(layer, FastWeights) else None)
    S, λ, η = layer.inner_steps, float(layer.decay), float(layer.fast_learning_rate)
    steps = path.iterates.diff(dim=2, prepend=torch.zeros_like(path.iterates[:, :, :1])).norm(dim=-1)
    gain = layer.norm.weight.abs().max() if isinstance(layer.norm, nn.LayerNorm) else 1
    L = gain / compute_deviation(layer, path.drives).amin(-1)
    ρ = L * torch.linalg.matrix_norm(path.A, 2)
    squares = path.iterates[:, :, S].square().sum(-1)
    largest = L.amax(1) * η * squares.amax(1)
    series = ρ**S / (1 - ρ) * steps[:, :, 1]
    return FastWeightsDynamics(
        compute_eigenvalues(layer, path),
        λ,
        _compute_largest_ratio(path, steps),
        ρ,
        L * _sum_written(squares, λ, η),
        largest / (1 - λ) if λ < 1 else torch.full_like(largest, torch.inf),
        _measure_remaining(path, steps, S),
        torch.where(ρ < 1, series, torch.inf),
    )


def _compute_largest_ratio(path: Path, steps: Tensor) -> Tensor:
    """Compute the largest ratio of consecutive inner steps, ignoring steps within rounding errors."""
    before, after = steps[..., :-1], steps[..., 1:]
    moving = before > _compute_threshold(path)
    ratios = after / before
    return ratios.where(moving & ratios.isfinite(), 0).amax(-1)


def _sum_written(squares: Tensor, λ: float, η: float) -> Tensor:
    """Compute η Σ_τ λ^{t-1-τ} ‖h_τ‖² before each step."""
    total, sums = torch.zeros_like(squares[:, 0]), []
    for square in squares.unbind(1):
        sums.append(total)
        total = λ * total + η * square
    return torch.stack(sums, 1)


def _measure_remaining(path: Path, steps: Tensor, S: int) -> Tensor:
    distance = (path.iterates[:, :, S] - path.iterates[:, :, -1]).norm(dim=-1)
    return distance.where(steps[..., -1] <= _compute_threshold(path)[..., 0], torch.nan)


def _compute_threshold(path: Path) -> Tensor:
    """Return the size below which differences may be rounding errors, [batch, time, 1]."""
    return torch.finfo(path.h.dtype).eps ** 0.5 * path.iterates.norm(dim=-1).amax(-1, keepdim=True)
