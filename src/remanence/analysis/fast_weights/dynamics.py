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
    """Spectrum and contraction along a trajectory; the inequalities are derived in :func:`fast_weights_dynamics`.

    Attributes:
        eigenvalues: of the Jacobian of (h, A), the largest modulus first, [batch, time, 2 hidden]; all its others,
            N² - N of them, are λ.
        decay: λ.
        contraction: the largest ratio of one inner step to the one before, ‖h^{s+1} - h^s‖ / ‖h^s - h^{s-1}‖, as
            measured; h^{-1} = 0.
        lipschitz: ρ_t = L ‖A_{t-1}‖, which no such ratio exceeds.
        norm_bound: L η Σ_τ λ^{t-1-τ} ‖h_τ‖², which ρ_t does not exceed.
        ceiling: L η max ‖h‖² / (1 - λ), which that does not exceed at any step; infinite for λ ≥ 1.
        remaining: ‖h^S - h*‖, from the layer's output to the fixed point of the inner loop; NaN where it was not
            reached.
        remaining_bound: ρ^S / (1 - ρ) ‖h¹ - h⁰‖; infinite where ρ_t ≥ 1.
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
        """Whether ρ_t < 1, so that the inner loop must settle."""
        return self.lipschitz < 1

    @property
    def settles(self) -> Bool[Tensor, "batch time"]:
        """Whether the inner loop was seen to reach a fixed point."""
        return self.remaining.isfinite()

    @property
    def spectral_radius(self) -> Float[Tensor, "batch time"]:
        """The largest modulus of an eigenvalue of the joint system, λ among them."""
        largest = self.eigenvalues[..., 0].abs()
        return largest.clamp_min(self.decay) if self.eigenvalues.shape[-1] > 2 else largest

    def plot(self, axes: Any = None) -> Any:
        """The inner loop over time, medians over the batch: measured contraction and its bounds; the eigenvalues.

        Args:
            axes: two matplotlib axes to draw on; default: those of a new figure.
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

    Within a time step the inner loop repeats ``T(v) = f(LN(W h + C x + b + A v))`` from ``h⁰ = T(0)``. ReLU and tanh
    are 1-Lipschitz. LN divides by a standard deviation: for two of its inputs with σ and σ',
    ``‖LN z - LN z'‖ ≤ max|gain| ‖z - z'‖ / √(σ σ')``, for the distance of two directions is at most that of the
    vectors over the root of the product of their lengths (ε being one more coordinate). So one inner step is at most
    ρ times the one before::

        ‖h^{s+1} - h^s‖ ≤ ρ ‖h^s - h^{s-1}‖,   ρ = L ‖A‖,   L = 1 without layer norm, max|gain| / min_s σ_s with it

    with σ_s as measured along the loop. By the triangle inequality on ``A_t = η Σ_τ λ^{t-τ} h_τ h_τᵀ``::

        ‖A_t‖ ≤ η Σ_τ λ^{t-τ} ‖h_τ‖² ≤ η max ‖h‖² / (1 - λ)

    The inner loop contracts if ``L η max‖h‖² < 1 - λ``. If ρ < 1, the steps still to come are a geometric series: there
    is a fixed point h*, and after S inner steps ``‖h^S - h*‖ ≤ ρ^S / (1 - ρ) ‖h¹ - h⁰‖``. All are equalities if one and
    the same h was written at every step (the last of them, in the limit of many) and the loop moves along it. Without
    layer norm T contracts everywhere; with it, as far as the loop was followed.

    Args:
        layer: fast weights, from their initial state; ``layer.double()`` measures small differences well.
        x: the input.
        iterations: inner steps to follow in search of the fixed point; the trajectory is that of the layer's own S.

    Returns:
        Eigenvalues, and measured and bounded contraction, along the trajectory.

    Raises:
        ValueError: another layer, an input of the wrong shape, or fewer iterations than the layer has.

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
    """Compute the largest ratio of an inner step to the one before, where rounding does not decide it."""
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
